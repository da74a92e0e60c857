"""CelebA's archive: members whose names and sizes are checked, read one by one in bounded memory, and their faces."""

import hashlib
import io
import re
import zipfile
import zlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import UserError
from ..sources import MANIFEST
from .celeba_texts import Declared

ARCHIVE = "img_align_celeba.zip"
CROP, WIDTH, HEIGHT = 148, 178, 218
_BOX = (15, 35, 15 + CROP, 35 + CROP)
_BELOW = (0, 192, WIDTH, HEIGHT)  # the blocks of 16 rows that come after all those of the crop
_MEMBER = re.compile(r"img_align_celeba/(\d{6}\.jpg)")
# An aligned face takes 3 to 40 kB; deflate cannot shrink a JPEG much: what claims more is no face.
_MAX_BYTES, _MAX_RATIO = 1 << 20, 20


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive of a raw folder. Raises: UserError if it is missing, cut short, or something else."""
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, OSError) as error:
        with open(path, "rb") as file:
            start = file.read(40)
        size = path.stat().st_size
        if start.startswith(b"PK"):
            why = f"it begins as one, but its list of members, which comes last, is missing or broken ({error})"
        else:
            why = f"it begins with {start!r}"
        raise UserError(f"{path}: {size:,} bytes that are not a complete zip archive: {why}; get it again") from None


def list_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """``NNNNNN.jpg`` -> member. Names and declared sizes are checked before anything is read."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in ("img_align_celeba/", "./"):
            continue
        where = f"{archive.filename}, member {info.filename[:80]!r}"
        match = _MEMBER.fullmatch(info.filename)
        if match is None:
            twice = info.filename.startswith("img_align_celeba/img_align_celeba/")
            hint = "; Kaggle's copy has the folder twice: unpack it and pack the inner folder anew" if twice else ""
            raise UserError(f"{where}: not of the form img_align_celeba/NNNNNN.jpg{hint}")
        if match[1] in members:
            raise UserError(f"{where}: is there twice")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{where}: encrypted or compressed in a way that CelebA never uses")
        largest = max(info.file_size, info.compress_size)
        if largest > _MAX_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1):
            sizes = f"{info.compress_size} bytes that unpack to {info.file_size}"
            raise UserError(f"{where}: {sizes}; at most {_MAX_BYTES} bytes and a factor of {_MAX_RATIO} are allowed")
        members[match[1]] = info
    return members


def read_face(archive: zipfile.ZipFile, info: zipfile.ZipInfo, declared: Declared | None = None) -> Image.Image:
    """One member's centre crop of 148x148, RGB. What a manifest ``declared`` is verified, and the size, then decoded.

    A member that unpacks to more than it says is given up there. libjpeg only warns of a broken scan, and Pillow does
    not pass that on. A scan that ends early is found by the grey that libjpeg fills in; bytes that changed within it
    show up in checksums alone: the archive's CRC, the manifest's SHA-256.

    Raises:
        UserError: naming the member.
    """
    where = f"{archive.filename}, member {info.filename!r}"
    data = _read(archive, info, where)
    if declared is not None:
        _verify(data, declared, where)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.size != (WIDTH, HEIGHT):
                got = f"{image.size[0]}x{image.size[1]}"
                raise UserError(f"{where}: {got} pixels; the aligned images have {WIDTH}x{HEIGHT}")
            crop = image.crop(_BOX)
            if set(image.crop(_BELOW).convert("RGB").getextrema()) == {(128, 128)}:
                raise UserError(f"{where}: not a whole JPEG image (its scan ends early)")
            return crop if crop.mode == "RGB" else crop.convert("RGB")
    except UnidentifiedImageError:
        raise UserError(f"{where}: not a whole JPEG image ({len(data)} bytes that begin with {data[:16]!r})") from None
    except (Image.DecompressionBombError, EOFError, OSError) as error:
        raise UserError(f"{where}: not a whole JPEG image ({_first_line(error)})") from None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    try:
        with archive.open(info) as file:
            # With a bound: read() alone unpacks all that is there, whatever the declared size.
            return file.read(_MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{where}: not whole ({_first_line(error)})") from None


def _verify(data: bytes, declared: Declared, where: str) -> None:
    says = f"{MANIFEST}, line {declared.number}, says"
    if declared.bytes is not None and len(data) != declared.bytes:
        raise UserError(f"{where}: {len(data)} bytes; {says} {declared.bytes}")
    if declared.sha256 is not None and (got := hashlib.sha256(data).hexdigest()) != declared.sha256:
        raise UserError(f"{where}: sha256 {got}; {says} {declared.sha256}")


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]
