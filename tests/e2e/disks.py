"""A disk that fails when it is told to: ext4 on a loop device over memory.

The kernel answers EIO by itself, to reads behind the end of what the device lies on, and to writes
where that was sealed. Needs root and loop devices.
"""

import fcntl
import os
import subprocess
from pathlib import Path

BLOCK = 4096
SIZE = 64 * 1024**2

_LOOP_SET_FD, _LOOP_CLR_FD, _LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82


class Disk:
    """A disk of 64 MiB.

    Raises
    ------
    OSError
        There are no loop devices, or none for this user.
    """

    def __init__(self, contents: bytes = b"") -> None:
        self._memory = os.memfd_create("disk", os.MFD_ALLOW_SEALING)
        os.ftruncate(self._memory, SIZE)
        os.pwrite(self._memory, contents, 0)
        control = os.open("/dev/loop-control", os.O_RDWR)
        self.device = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
        os.close(control)
        self._loop = os.open(self.device, os.O_RDWR)
        fcntl.ioctl(self._loop, _LOOP_SET_FD, self._memory)
        if not contents:
            # One group of blocks: all that describes files comes before all files.
            command = ["mkfs.ext4", "-q", "-b", str(BLOCK), self.device]
            subprocess.run(command, check=True)
        self._folder: Path | None = None

    def mount(self, folder: Path) -> Path:
        """Mount it on a folder, which is made."""
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", self.device, os.fspath(folder)], check=True)
        self._folder = folder
        return folder

    def unmount(self) -> None:
        """Take it away, whoever is still at work on it."""
        subprocess.run(["umount", "--lazy", os.fspath(self._folder)], check=True)
        self._folder = None

    @property
    def contents(self) -> bytes:
        """All that is on it."""
        return os.pread(self._memory, SIZE, 0)

    def lose(self, start: int) -> bytes:
        """From now on nothing can be read from `start`; return what was there."""
        lost = os.pread(self._memory, SIZE, start)
        os.ftruncate(self._memory, start)
        return lost

    def find_again(self, start: int, lost: bytes) -> None:
        """Undo `lose`."""
        os.pwrite(self._memory, lost, start)

    def fail_to_write(self) -> None:
        """From now on nothing can be written."""
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)

    def remove(self) -> None:
        """Unmount and forget it."""
        if self._folder:
            self.unmount()
        fcntl.ioctl(self._loop, _LOOP_CLR_FD)
        os.close(self._loop)
        os.close(self._memory)
