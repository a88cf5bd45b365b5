"""Speed and memory of training, restoring and the web demo."""
