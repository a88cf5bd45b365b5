"""`/encode_and_decode` as a program calls it: what comes back, at the bitrate that was asked for."""

from pathlib import Path
from typing import Any

import pytest
import soundfile
from signals import CANON

gradio_client = pytest.importorskip("gradio_client")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_more_bits_are_more_kbps_and_never_worse(space: Any, tmp_path: Path) -> None:
    client = gradio_client.Client(space.url, verbose=False, download_files=str(tmp_path))
    kbps, quality = [], []
    for bits in ("4 bits", "8 bits", "float"):
        player, figures, picture = client.predict(
            gradio_client.handle_file(str(CANON)), bits, api_name="/encode_and_decode"
        )
        assert [track["name"] for track in player["tracks"]] == ["Decoded", "Original"]
        lengths = {soundfile.info(track["file"]).frames for track in player["tracks"]}
        assert lengths == {soundfile.info(CANON).frames}
        assert Path(picture).stat().st_size > 10_000
        ((name, visqol, si_sdr, _distance),) = figures["data"]
        kbps.append(float(name.split()[0]))
        quality.append((visqol, si_sdr))
    assert kbps == sorted(kbps)
    assert kbps[0] < 40 < kbps[1] < 64 < kbps[2] < 260
    assert quality[0][0] > 2
    assert abs(quality[1][0] - quality[2][0]) < 0.2, "8 bits are enough"


def test_silence_gets_its_sentence(space: Any, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, [[0.0, 0.0]] * 44_100, 44_100)
    client = gradio_client.Client(space.url, verbose=False, download_files=str(tmp_path))
    with pytest.raises(Exception, match="silence"):
        client.predict(gradio_client.handle_file(str(path)), "8 bits", api_name="/encode_and_decode")
