"""All that travels to a Hub repository with a saved model, so that it loads where this package is not installed.

The modules lie flat and import one another only as `from .audio_unlossy import …`: that is how `save_pretrained` finds
and copies them. They import nothing else of the package. At their top they import only torch, transformers,
huggingface_hub, safetensors, numpy and the standard library; anything else is imported inside `try:` or inside a
function.

Networks:

* `modeling_unlossy`: the restorer, and how its parts are joined.
* `configuration_unlossy`: its fields, and the spectrum that both networks share.
* `layers_unlossy`: the trunk's layers: band split, encoder, decoder, values for each bin or cell.
* `heads_unlossy`: correction of what the codec kept: mask, tones, soft threshold.
* `detail_unlossy`: regeneration of what it dropped: deficits, noise substitution, make-up gain.
* `transient_unlossy`: keeps corrections from sounding before an onset.
* `loss_unlossy`: what training minimises.
* `modeling_unlossy_autoencoder`, `configuration_unlossy_autoencoder`: the second network, which compresses.

Signal processing:

* `spectral_unlossy`: spectra of mid and side and back, and the noise that is substituted.
* `cells_unlossy`: small time–frequency areas, their levels, and what follows from them.
* `similarity_unlossy`: how alike two envelopes sound, as ViSQOL hears it.

From file to file:

* `restoration_unlossy`: `restore`, `restore_stream`, and what a result is.
* `loading_unlossy`: a model by its name, in ONNX Runtime or in PyTorch.
* `onnx_unlossy`: both networks as `unlossy-train export` wrote them, without PyTorch.
* `streaming_unlossy`: sources, stages and sinks of blocks.
* `source_unlossy`: bytes and file objects as input.
* `audio_unlossy`: reading audio files block by block.
* `decoding_unlossy`: decoding in time; silence for what is missing.
* `gaps_unlossy`: where audio is missing, and how much of that is too much.
* `container_unlossy`: how long a file says it is, and whether all of it is there.
* `mpeg_unlossy`: frames of MP3 and FLAC that FFmpeg's parsers lose.
* `resampling_unlossy`: one rate and set of speakers brought to another.
* `layout_unlossy`: speakers, and where they go in another format.
* `tags_unlossy`, `tags_reading_unlossy`, `tags_writing_unlossy`: tags, pictures and chapters, read and written.
* `audio_writing_unlossy`: writing audio files, complete or not at all.

For transformers:

* `feature_extraction_unlossy`: arrays to a padded batch.
* `pipeline_unlossy`: `pipeline("audio-to-audio")`.
"""
