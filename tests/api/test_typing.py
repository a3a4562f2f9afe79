"""What a type checker makes of the public face."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import volary

SOURCE = """
import volary

def main(conn: volary.Connection, pool: volary.Pool, spec: volary.VolumeSpec, flags: int) -> None:
    reveal_type(pool.create_volume(spec))
    reveal_type(pool.create_volume(spec, volary.VolumeCreate.PREALLOCATE_METADATA))
    reveal_type(pool.create_volume(spec, volary.ASYNC))
    reveal_type(pool.create_volume(spec, flags=volary.ASYNC).result())
    reveal_type(pool.create_volume(spec, volary.VolumeCreate.PREALLOCATE_METADATA | volary.ASYNC))
    reveal_type(pool.create_volume(spec, volary.ASYNC | volary.VolumeCreate.PREALLOCATE_METADATA))
    reveal_type(pool.create_volume(spec, flags))
    reveal_type(conn.create_pool("<pool/>", volary.PoolStart.BUILD | volary.ASYNC))
    reveal_type(pool.refresh(volary.ASYNC))

def change(pool: volary.Pool, volume: volary.Volume, spec: volary.VolumeSpec) -> None:
    reveal_type(pool.clone_volume(volume, spec))
    reveal_type(pool.clone_volume(volume, spec, volary.VolumeCreate.REFLINK | volary.ASYNC))
    reveal_type(volume.resize("1G", volary.ASYNC | volary.VolumeResize.SHRINK))
    reveal_type(volume.wipe(flags=volary.ASYNC))
    reveal_type(volume.wipe(volary.WipeAlgorithm.DOD, volary.ASYNC))
    reveal_type(volume.upload("file", volary.ASYNC))
    reveal_type(volume.download("file", volary.ASYNC))
    reveal_type(volume.download("file"))
    reveal_type(volume.stream())
    reveal_type(volume.stream(sparse=True))

async def wait(pool: volary.Pool, spec: volary.VolumeSpec) -> None:
    reveal_type(await pool.create_volume(spec, volary.ASYNC))
"""

REVEALED = [
    "volary.api.volume.Volume",
    "volary.api.volume.Volume",
    "volary.engine.actors.job.Job[volary.api.volume.Volume]",
    "volary.api.volume.Volume",
    "volary.engine.actors.job.Job[volary.api.volume.Volume]",
    "volary.engine.actors.job.Job[volary.api.volume.Volume]",
    "volary.api.volume.Volume | volary.engine.actors.job.Job[volary.api.volume.Volume]",
    "volary.engine.actors.job.Job[volary.api.pool.Pool]",
    "volary.engine.actors.job.Job[None]",
    "volary.api.volume.Volume",
    "volary.engine.actors.job.Job[volary.api.volume.Volume]",
    "volary.engine.actors.job.Job[None]",
    "volary.engine.actors.job.Job[None]",
    "volary.engine.actors.job.Job[None]",
    "volary.engine.actors.job.Job[None]",
    "volary.engine.actors.job.Job[int]",
    "int",
    "volary.api.volume_stream.VolumeStream[bytes]",
    "volary.api.volume_stream.VolumeStream[bytes | tuple[int, fallback=volary.engine.hole.Hole]]",
    "volary.api.volume.Volume",
]


def test_mypy_knows_which_calls_return_a_job(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(SOURCE)
    answer = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", str(sample)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    revealed = [
        line.partition('Revealed type is "')[2].rstrip('"')
        for line in answer.stdout.splitlines()
        if "Revealed type" in line
    ]
    assert revealed == REVEALED, answer.stdout + answer.stderr


def test_flags_keep_their_bits_whichever_comes_first() -> None:
    for flags in (
        volary.VolumeCreate.PREALLOCATE_METADATA | volary.ASYNC,
        volary.ASYNC | volary.VolumeCreate.PREALLOCATE_METADATA,
    ):
        assert isinstance(flags, volary.Async)
        assert int(flags) == (1 << 30) | 1
