"""`/degrade_and_restore` as a program calls it: the versions as files, and figures that rank them."""

from pathlib import Path
from typing import Any

import pytest
import soundfile
from signals import CANON

gradio_client = pytest.importorskip("gradio_client")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def connect(space: Any, folder: Path) -> Any:
    return gradio_client.Client(space.url, verbose=False, download_files=str(folder))


def test_versions_and_figures(space: Any, tmp_path: Path) -> None:
    player, figures = connect(space, tmp_path).predict(
        gradio_client.handle_file(str(CANON)), "mp3", 64, api_name="/degrade_and_restore"
    )
    assert [track["name"] for track in player["tracks"]] == ["Input", "Restored", "Original"]
    lengths = {soundfile.info(track["file"]).frames for track in player["tracks"]}
    assert lengths == {soundfile.info(CANON).frames}
    rows = {name: row for name, *row in figures["data"]}
    assert list(rows) == ["Input", "Restored"]
    for visqol, si_sdr, distance in rows.values():  # in the order that docs/python.md says
        assert 1 < visqol < 4.73
        assert 5 < si_sdr < 30
        assert 0 < distance < 40
    assert rows["Restored"][0] > rows["Input"][0]


def test_a_bitrate_that_the_codec_lacks(space: Any, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="opus in stereo takes 32 to 510 kbps, not 24"):
        connect(space, tmp_path).predict(
            gradio_client.handle_file(str(CANON)), "opus", 24, api_name="/degrade_and_restore"
        )
