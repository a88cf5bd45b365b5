"""Clean audio: recordings, scores played by a synthesiser, and 4 s clips mixed of them."""
