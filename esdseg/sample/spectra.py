"""Reflectance of surfaces and of the air in Sentinel-2's bands.

Shapes follow published spectra of dry savanna (for instance the USGS and ASTER spectral libraries); levels
are set so that the mixture has the medians of a real tile on its clearest date.
"""

import numpy as np

from esdseg.sensors.sensors import get_sensor

SPECTRAL_BANDS = get_sensor("sentinel2").band_names
"""The order of every spectrum: B01 to B12 without B10."""

# fmt: off
SURFACES = {
    #                     B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "pale_soil":        ( 590,  820, 1120, 1560, 1800, 1960, 2110, 2260, 2330, 2360, 3350, 2800),
    "red_soil":         ( 500,  590,  760, 1240, 1520, 1690, 1850, 1990, 2080, 2090, 2900, 2330),
    "dry_grass":        ( 470,  570,  745, 1010, 1260, 1560, 1760, 1900, 1980, 2000, 2520, 1870),
    "woodland":         ( 420,  410,  560,  660,  930, 1350, 1530, 1640, 1720, 1760, 1850, 1200),
    "green":            ( 390,  330,  520,  420,  880, 1900, 2350, 2560, 2650, 2600, 1650,  850),
    "water":            ( 450,  480,  520,  430,  390,  350,  330,  310,  290,  280,  160,  110),
    "sand":             ( 650,  960, 1330, 1800, 2020, 2120, 2230, 2350, 2420, 2440, 3450, 3000),
    "burnt":            ( 410,  400,  460,  560,  690,  820,  930, 1020, 1080, 1120, 1700, 1600),
    "rock":             ( 700, 1400, 1800, 2150, 2250, 2300, 2350, 2420, 2450, 2450, 2500, 2250),
    "crop_residue":     ( 520,  700,  980, 1360, 1640, 1880, 2060, 2230, 2300, 2320, 3250, 2600),
    "ploughed":         ( 450,  500,  640,  980, 1200, 1380, 1530, 1650, 1720, 1750, 2350, 1900),
    "metal":            (1300, 3000, 3250, 3350, 3300, 3250, 3200, 3200, 3150, 2700, 3200, 3000),
    "rusted_metal":     ( 700, 1450, 1750, 2450, 2650, 2750, 2800, 2850, 2850, 2600, 3500, 3200),
    "thatch":           ( 460,  520,  680,  900, 1080, 1250, 1400, 1520, 1600, 1640, 2250, 1800),
}
# fmt: on

MEDIANS = {
    # Medians of a real tile, 11, 16, 26 and 31 August 2020: the air and the drying land of each date.
    "clear_early": (500, 574, 793, 1122, 1374, 1643, 1816, 1988, 2049, 2067, 2656, 1978),
    "clear": (485, 614, 793, 1124, 1376, 1619, 1798, 1934, 2021, 2032, 2676, 2089),
    "cloudy": (722, 828, 987, 1302, 1568, 1768, 1966, 2016, 2191, 2153, 2953, 2323),
    "cloudy_late": (459, 554, 845, 1300, 1602, 1845, 2031, 2140, 2294, 2280, 3051, 2309),
}
DATE_MEDIANS = ("clear_early", "clear", "cloudy", "cloudy_late")
"""Which medians each of the four Sentinel-2 dates has."""

CLOUD_TOP = (5400, 5700, 5800, 6000, 6350, 6250, 6300, 6400, 6450, 8600, 6700, 5700)
"""Reflectance of a middling cloud top."""


def surface(name: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the spectrum of a surface as reflectance x 10 000, ``(12,)``; ``KeyError`` if unknown."""
    return np.array(SURFACES[name], np.float32)
