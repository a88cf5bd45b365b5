"""The web demo: `unlossy demo` on one's own machine, `space/app.py` on Hugging Face Spaces.

    page          what stands where, and how it is served
    restoring     the tab "Restore"
    degrading     the tab "Degrade and restore"
    player        one player for several versions of a clip, with a blind test (player.html, player.css, player.js)
    figures       spectrograms and long-term spectra
    clips         uploads: what may come in, and how it is listened to
    engine        the model, on a CPU or on ZeroGPU
    sessions      everybody's files, and their end

As in the command line, no module imports `unlossy` or torch at its top: the page is there before they are loaded.
"""
