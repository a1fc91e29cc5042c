"""Converts HDR and wide colours to SDR: BT.709 colours for a display of gamma 2.4, as models know them.

PQ and HLG are those of ITU-R BT.2100, the primaries those of BT.2020 or P3. SDR white is 100 nits in PQ, and
75 % in HLG, the reference white of BT.2408. The spline of BT.2390 rolls brighter light off. It begins at 68 %
of the light of SDR white, and 203 % becomes the code 255: what was made for a white of 203 nits keeps its
white.

Nothing is measured per frame. Every processor computes the same pixels: the tables hold whole numbers, and
the matrix is applied to whole numbers below 2**53, whose sums are exact in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import exp
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

# Values of AVColorTransferCharacteristic, AVColorPrimaries and AVColorSpace (ISO/IEC 23091-2).
_PQ = 16
_HLG = 18
# BT.709, unspecified, BT.470, BT.601, SMPTE 240M, xvYCC, BT.1361, sRGB, and both of BT.2020.
_SDR = frozenset({1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15})
_BT709 = 1
_UNSPECIFIED = 2
_BT2020 = 9
_P3_DCI = 11
_P3_D65 = 12
# Those of BT.709, BT.470, BT.601, SMPTE 240M and EBU 3213, which are so near to BT.709 that they are kept.
_NEAR_BT709 = frozenset({1, 4, 5, 6, 7, 22})

#: Linear light of SDR white.
_WHITE = 1 << 20
_MATRIX_SCALE = 1 << 14
# From linear light to that of BT.709, rows red, green, blue; each row's sum is the scale, so grey stays.
# BT.2020 by ITU-R BT.2407; P3 by SMPTE RP 431-2 and EG 432-1, the white of DCI adapted to D65 by Bradford.
_TO_BT709 = {
    _BT2020: ((27205, -9628, -1193), (-2041, 18562, -137), (-297, -1648, 18329)),
    _P3_DCI: ((18965, -2539, -42), (-680, 17131, -67), (-296, -1287, 17967)),
    _P3_D65: ((20069, -3685, 0), (-689, 17073, 0), (-322, -1288, 17994)),
}
_GAMMA = 2.4
# Relative to SDR white: where light becomes white, and the largest that PQ can say.
_PEAK = 2.03
_PQ_PEAK = 100.0
_ROWS = 32


@dataclass(frozen=True)
class Colours:
    """Colours that need more than a conversion to RGB, by the codes of ISO/IEC 23091-2.

    `primaries` are those of BT.2020 or P3, None when those of the picture are kept.
    """

    transfer: int
    primaries: int | None


def colours_of(picture: av.VideoFrame) -> Colours | None:
    """Returns the colours of an HDR or wide picture, None of any other.

    HDR has the primaries of BT.2020 where it does not say others that are known here. SDR is converted when
    it has those of BT.2020; SDR with the primaries of P3 stays as it is.
    """
    transfer, primaries = picture.color_trc, picture.color_primaries
    if transfer in (_PQ, _HLG):
        wide = primaries if primaries in _TO_BT709 else _BT2020
        return Colours(transfer, None if primaries in _NEAR_BT709 else wide)
    if primaries == _BT2020 and transfer in _SDR:
        return Colours(_BT709, _BT2020)
    return None


def complete(picture: av.VideoFrame) -> None:
    """Sets the matrix of BT.2020 on an HDR picture that does not say how its colours are coded."""
    if picture.color_trc in (_PQ, _HLG) and picture.colorspace == _UNSPECIFIED:
        picture.colorspace = _BT2020


def to_sdr(pixels: npt.NDArray[np.uint16], colours: Colours) -> npt.NDArray[np.uint8]:
    """Returns an image in BGR of 8 bits, converted from BGR of 16 bits, (height, width, 3)."""
    linear, display = _linear_light(colours.transfer), _display_codes()
    wide = colours.primaries
    matrix = None if wide is None else np.array(_TO_BT709[wide], np.float64)[::-1, ::-1].T / _MATRIX_SCALE
    result = np.empty(pixels.shape, np.uint8)
    for row in range(0, len(pixels), _ROWS):
        light = linear[pixels[row : row + _ROWS]]
        if matrix is not None:
            light = np.clip(light @ matrix + 0.5, 0, _WHITE)
        result[row : row + _ROWS] = display[light.astype(np.int32)]
    return result


@cache
def _linear_light(transfer: int) -> npt.NDArray[np.float64]:
    """Linear light, a whole number up to _WHITE, of each code of 16 bits; that of HDR is rolled off."""
    light_of = {_PQ: _rolled_off_pq, _HLG: _rolled_off_hlg}.get(transfer, _sdr_light)
    return np.array([round(light_of(code / 65535) * _WHITE) for code in range(65536)], np.float64)


@cache
def _display_codes() -> npt.NDArray[np.uint8]:
    """The code of 8 bits of each linear light."""
    begins = [round(((code - 0.5) / 255) ** _GAMMA * _WHITE) for code in range(1, 256)]
    counts = np.diff([0, *begins, _WHITE + 1])
    return np.repeat(np.arange(256, dtype=np.uint8), counts)


def _sdr_light(signal: float) -> float:
    return float(signal**_GAMMA)


def _rolled_off_pq(signal: float) -> float:
    return _rolled_off(_pq_light(signal))


def _rolled_off_hlg(signal: float) -> float:
    """For a display of 1,000 nits, whose gamma is 1.2 (BT.2100, table 5)."""
    return _rolled_off((_hlg_scene_light(signal) / _hlg_scene_light(0.75)) ** 1.2)


def _hlg_scene_light(signal: float) -> float:
    if signal <= 0.5:
        return signal * signal / 3
    return (exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12


def _pq_light(signal: float) -> float:
    """Light relative to SDR white (BT.2100, table 4)."""
    power = signal ** (32 / 2523)
    linear = max(power - 3424 / 4096, 0.0) / (2413 / 128 - 2392 / 128 * power)
    return float(linear ** (16384 / 2610)) * _PQ_PEAK


def _pq_signal(light: float) -> float:
    power = (light / _PQ_PEAK) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def _rolled_off(light: float) -> float:
    """Light up to the knee is unchanged, the peak becomes white (BT.2390, section 5.4.1)."""
    peak = _pq_signal(_PEAK)
    most = _pq_signal(1.0) / peak
    knee = 1.5 * most - 0.5
    signal = min(_pq_signal(light) / peak, 1.0)
    if signal <= knee:
        return light
    t = (signal - knee) / (1 - knee)
    rolled = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    )
    return min(_pq_light(rolled * peak), 1.0)
