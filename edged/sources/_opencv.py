"""OpenCV on use, without its own words on stderr: edged's errors name the file and the remedy."""

from __future__ import annotations

import os
from typing import Any

from edged.errors import MissingPackage

# Read by OpenCV at import or at first use. What the user has set is kept.
_DEFAULTS = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "3",  # seconds for a camera's first picture; 10 outlasts a shutdown
}


def opencv(needed_by: str) -> Any:
    """The module cv2 with its log off, unless OPENCV_LOG_LEVEL asks for it. Raises MissingPackage."""
    chatty = "OPENCV_LOG_LEVEL" in os.environ and os.environ["OPENCV_LOG_LEVEL"] != "SILENT"
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
    try:
        import cv2
    except ImportError as e:
        raise MissingPackage("opencv-python-headless", needed_by=needed_by, extra="ort") from e
    if not chatty:  # somebody may have imported it before the variable was set
        _silence(cv2)
    return cv2


def _silence(cv2: Any) -> None:
    """4.8 has cv2.setLogLevel or cv2.utils.logging, depending on the build; 5.0 the latter only."""
    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    elif hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
