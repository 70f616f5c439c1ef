"""make_pictures.py - vectors of photographs: sift-wp, patches-768 and hog-324.

Place: bench; annbench data NAME runs it as: make_pictures.py NAME FOLDER.
Paper: Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", 2004; Dalal, Triggs,
"Histograms of Oriented Gradients for Human Detection", 2005.
The queries come from photographs that gave no base vector.
"""

import os
import shutil
import sys

import cv2
import numpy as np

import make_common as common

PACKAGES = {
    "lomiri-wallpapers-16.04": (
        "20.04.0-2", "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab"),
    "lomiri-wallpapers-20.04": (
        "20.04.0-2", "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709"),
    "mate-backgrounds": (
        "1.26.0-1", "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04"),
    "plasma-workspace-wallpapers": (
        "4:5.27.5-2", "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b"),
}

# The photographs among the wallpapers; paintings and rendered pictures are left out.
BASE = """
backgrounds/Dragonfly_by_Bolly.jpg
backgrounds/Infinite-Sea_by_Aury88.jpg
backgrounds/Kleiber_by_Lukas_Baubkus.jpg
backgrounds/Picture_0B_by_freespace.jpg
backgrounds/Picture_1A_by_freespace.jpg
backgrounds/aitzgorri_by_Aitzol_Berasategi.jpg
backgrounds/analogpattern_by_Peter_Nerlich.jpg
backgrounds/free_by_Peter_Nerlich.jpg
backgrounds/life_by_Aitzol_Berasategi.jpg
backgrounds/mate/nature/Aqua.jpg
backgrounds/mate/nature/Blinds.jpg
backgrounds/mate/nature/Dune.jpg
backgrounds/mate/nature/FreshFlower.jpg
backgrounds/mate/nature/Garden.jpg
backgrounds/mate/nature/GreenMeadow.jpg
backgrounds/mate/nature/LadyBird.jpg
backgrounds/mate/nature/RainDrops.jpg
backgrounds/mate/nature/Storm.jpg
backgrounds/mate/nature/YellowFlower.jpg
backgrounds/picosdeeuropa_by_Aitzol_Berasategi.jpg
backgrounds/seeding_by_Clements_Engelhardt.jpg
backgrounds/sunset_by_Aitzol_Berasategi.jpg
wallpapers/BytheWater/contents/images/2560x1600.jpg
wallpapers/ColorfulCups/contents/images/2560x1600.jpg
wallpapers/DarkestHour/contents/images/2560x1600.jpg
wallpapers/EveningGlow/contents/images/2560x1600.jpg
wallpapers/Grey/contents/images/2560x1600.jpg
wallpapers/Kite/contents/images/2560x1600.jpg
wallpapers/OneStandsOut/contents/images/2560x1600.jpg
wallpapers/Path/contents/images/2560x1600.jpg
wallpapers/Volna/contents/images/5120x2880.jpg
wallpapers/summer_1am/contents/images/2560x1600.jpg
""".split()
QUERIES = """
backgrounds/Bridge_by_Sander_Klootwijk.jpg
backgrounds/Wine_by_Jakkub_Mede.jpg
backgrounds/friends_by_Aitzol_Berasategi.jpg
backgrounds/greentock_by_Peter_Nerlich.jpg
backgrounds/mate/nature/TwoWings.jpg
backgrounds/mate/nature/Wood.jpg
wallpapers/ColdRipple/contents/images/2560x1600.jpg
wallpapers/FallenLeaf/contents/images/2560x1600.jpg
""".split()

SIFT_CONTRAST, SIFT_MOST = 0.02, 120000  # the strongest of a picture, so none outweighs all
PIECES = 100000
PATCH, HOG = 16, 32


def read(path, colour):
    picture = cv2.imread(path, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    if picture is None:
        common.fail(f"{path}: not there, or not a picture")
    return picture


def sift(path, _share, _random):
    maker = cv2.SIFT_create(nfeatures=SIFT_MOST, contrastThreshold=SIFT_CONTRAST)
    rows = maker.detectAndCompute(read(path, False), None)[1]
    return np.empty((0, 128), np.uint8) if rows is None else rows.astype(np.uint8)


def places(picture, share, size, random):
    """share random places of pieces size x size; as many rows and columns as fit."""
    height, width = picture.shape[:2]
    return zip(random.randint(0, height - size + 1, share),
               random.randint(0, width - size + 1, share))


def half(picture):
    """Half the size: at full size most small pieces show nothing but noise or blur."""
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def patches(path, share, random):
    picture = half(read(path, True))
    return np.array([picture[y:y + PATCH, x:x + PATCH].ravel()
                     for y, x in places(picture, share, PATCH, random)])


def hog(path, share, random):
    picture = half(read(path, False))
    maker = cv2.HOGDescriptor((HOG, HOG), (16, 16), (8, 8), (8, 8), 9)
    return np.array([maker.compute(np.ascontiguousarray(picture[y:y + HOG, x:x + HOG])).ravel()
                     for y, x in places(picture, share, HOG, random)])


SETS = {
    "sift-wp": (sift, f"SIFT descriptors (contrast threshold {SIFT_CONTRAST}, at most "
                      f"{SIFT_MOST} a picture)"),
    "patches-768": (patches, "colour patches of 16 x 16 pixels at half size"),
    "hog-324": (hog, "HOG descriptors of 32 x 32 pixels at half size"),
}


def collect(maker, root, pictures, total, what):
    random = np.random.RandomState(common.SEED)
    progress = common.Progress(what, len(pictures))
    found = []
    for i, name in enumerate(pictures):
        path = os.path.join(root, "usr", "share", name)
        found.append(maker(path, -(-total // len(pictures)), random))
        progress.at(i + 1)
    return common.unique_rows(np.concatenate(found))


def main():
    name, folder = sys.argv[1:]
    maker, what = SETS[name]
    cv2.setNumThreads(1)
    root = common.unpack_debs(PACKAGES, os.path.join(folder, "debs"))
    base = collect(maker, root, BASE, PIECES, "photographs")
    queries = collect(maker, root, QUERIES, 4 * common.QUERIES, "photographs for queries")
    queries = common.hold_out(queries)[1]
    common.save(folder, name, "l2", base, queries,
                f"{what} of {len(BASE)} photographs in Debian's wallpaper packages, by OpenCV "
                f"{cv2.__version__}; queries from {len(QUERIES)} others")
    shutil.rmtree(os.path.join(folder, "debs"))


if __name__ == "__main__":
    main()
