"""Whatever fails, a log with the values of all frames shows no secret."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from traceback import TracebackException
from typing import Any, NoReturn

import pytest
from rich.console import Console
from rich.traceback import Traceback
from structlog.tracebacks import ExceptionDictTransformer
from tests.conftest import NeedTool
from tests.engine.formats.qemu_images import MIB, a_raw

from volary.engine.encryption import Encryption
from volary.engine.formats import open_image, process, qemu_convert, qemu_create, qemu_resize
from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.qemu_check import check
from volary.engine.formats.qemu_resize import finish
from volary.engine.image_info import ImageInfo
from volary.engine.secret import Secret
from volary.engine.volume_spec import VolumeSpec

HIDDEN = "Zl3ng"
BAD = f"{HIDDEN}\udc80"
HOW = Encryption(HIDDEN)
INFO = ImageInfo("luks", MIB, encryption="luks")
SPEC = VolumeSpec("new", capacity=MIB, format="luks", encryption=HOW)


@pytest.fixture
def image(tmp_path: Path) -> Iterator[OpenImage]:
    fd = os.open(a_raw(tmp_path / "disk", MIB), os.O_RDWR)
    yield OpenImage.of(fd, INFO, name="disk", secret=HOW.secret)
    os.close(fd)


STAGES: dict[str, Callable[[OpenImage], object]] = {
    "create": lambda image: finish(qemu_create.create(image.fd, SPEC)),
    "convert": lambda image: finish(qemu_convert.convert(image, image)),
    "measure": lambda image: finish(qemu_convert.measure(image, VolumeSpec("new"))),
    "resize": lambda image: finish(qemu_resize.resize(image, 2 * MIB)),
    "check": lambda image: finish(check(OpenImage(image.fd, "qcow2", MIB, secret=image.secret))),
}

PLACES: dict[str, tuple[object, str]] = {
    "the memory file": (os, "memfd_create"),
    "sealing it": (fcntl, "fcntl"),
    "handing it on": (open_image, "open_secret"),
    "naming it": (Arguments, "secret"),
    "starting the program": (process.subprocess, "Popen"),  # type: ignore[attr-defined]  # its import
    "while it runs": (process.select, "poll"),  # type: ignore[attr-defined]  # its import
}


def broken(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_defect_in_any_stage_shows_no_secret(
    image: OpenImage,
    stage: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    need_tool: NeedTool,
) -> None:
    need_tool("qemu-img", "qemu-utils")
    error = raised_by(lambda: STAGES[stage](image), monkeypatch, *PLACES[place])
    assert isinstance(error, RuntimeError)
    shows_nothing(error)


@pytest.mark.parametrize(
    "use",
    [
        lambda: Secret(BAD),
        lambda: Secret.of(BAD),
        lambda: Secret([HIDDEN]),  # type: ignore[arg-type]  # that is what is tested
        lambda: Encryption(BAD),
        lambda: Encryption(HIDDEN, cipher="a b"),
        lambda: VolumeSpec("a", capacity=1, format="vdi", encryption=HOW),
        lambda: OpenImage.of(0, ImageInfo("luks", 1, problem="it is odd"), secret=Secret(HIDDEN)),
    ],
)
def test_what_is_refused_shows_no_secret(use: Callable[[], object]) -> None:
    with caught() as errors:
        use()
    shows_nothing(errors[0])


@contextmanager
def caught() -> Iterator[list[Exception]]:
    errors: list[Exception] = []
    try:
        yield errors
    except Exception as error:
        errors.append(error)
    assert errors


def raised_by(
    use: Callable[[], object], monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> Exception:
    with monkeypatch.context() as patch, caught() as errors:
        patch.setattr(where, name, broken)
        use()
    return errors[0]


def shows_nothing(error: Exception) -> None:
    """Look for the secret in what Python, rich and structlog make of an error and its frames."""
    told = "".join(TracebackException.from_exception(error, capture_locals=True).format())
    assert " = " in told  # values are shown
    assert HIDDEN not in told
    screen = StringIO()
    shown = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=1000
    )
    Console(file=screen, width=200).print(shown)
    assert HIDDEN not in screen.getvalue()
    transform = ExceptionDictTransformer(show_locals=True, locals_max_string=1000)
    assert HIDDEN not in str(transform((type(error), error, error.__traceback__)))
