"""The export as WebVTT is read by a browser's own reader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.browser.conftest import Complete, OpenPage
from tests.support.serving import Web
from tests.support.videos import make_video

#: What would be markup, times, another cue or the end of the file, if it were not text.
HOSTILE = [
    "<b>bold</b> & <script>alert(1)</script>",
    "<v Bob>hello",
    "<00:01.000>later",
    "00:00:01.000 --> 00:00:02.000",
    "a-->b",
    "NOTE this",
    "STYLE",
    "WEBVTT",
    "7",
    "one\ntwo",
    "three\r\n\r\nfour",
    "nul\x00 and \x1b[2J",
    "line\u2028separator",
    "\ufeffmark &amp; entity &lt;i&gt;",
    "\u202eright to left \u05d0\u05d1",
    "\U0001f600 \U00020000 日本語",
]
#: Each cue: start, end, its text as it is shown, and the number of elements in it.
READ = """async (address) => {
  const video = document.createElement('video'), track = document.createElement('track');
  track.default = true;
  video.append(track);
  document.body.append(video);
  const loaded = new Promise((done, fail) => { track.onload = done; track.onerror = fail; });
  track.track.mode = 'hidden';
  track.src = address;
  await loaded;
  return [...track.track.cues].map((cue) => {
    const shown = cue.getCueAsHTML();
    return [cue.startTime, cue.endTime, shown.textContent, shown.querySelectorAll('*').length];
  });
}"""


def test_a_track_shows_each_text_as_text_at_its_time(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    items: list[dict[str, Any]] = [
        {
            "frame_index": index,
            "result": {
                "text_blocks": [{"text": text, "confidence": 0.9, "box": [1, 2, 30, 40]}],
                "timestamp": index * 2.5,
            },
        }
        for index, text in enumerate(HOSTILE)
    ]
    job_id = complete(make_video(tmp_path / "v.mp4"), items)
    cues = open_page(web.url).evaluate(READ, f"/jobs/{job_id}/export?format=vtt")
    # Control characters and line separators are spaces in a cue.
    shown = [re.sub("[\x00-\x1f\u2028]+", " ", text) for text in HOSTILE]
    assert cues == [[index * 2.5, index * 2.5 + 2.5, text, 0] for index, text in enumerate(shown)]
