#!/usr/bin/env python3
"""Makes digits-train.npz and digits-test.npz from the copy of the digits that scikit-learn carries.

    pip download --no-deps --dest . scikit-learn
    python3 make_data.py scikit_learn-*.whl

Images are 8 x 8 with grey values 0 to 16. About every fifth image of each class is held out for testing, 360 of 1,797.
Arrays: `image` uint8 [n, 1, 8, 8] and `labels` int64 [n]. Archives are stored with fixed times, so that the files are
the same each time.
"""

import gzip
import io
import sys
import zipfile

import numpy as np

INSIDE = "sklearn/datasets/data/digits.csv.gz"
TEST_IMAGES = 360


def read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(INSIDE)).decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",")
    return table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)


def split(labels):
    """Marks the test images: of each class the same share, as nearly as whole images allow."""
    counts = np.bincount(labels)
    exact = counts * TEST_IMAGES / len(labels)
    held = np.floor(exact).astype(int)
    for label in np.argsort(held - exact, kind="stable")[: TEST_IMAGES - held.sum()]:
        held[label] += 1
    test = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(held):
        positions = np.flatnonzero(labels == label)
        # Spread evenly over the file, whose writers follow one another.
        test[positions[(np.arange(count) * len(positions)) // count]] = True
    return test


def write(path, images, labels):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("image", images), ("labels", labels)):
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), version=(1, 0))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), data.getvalue(), zipfile.ZIP_DEFLATED)


def main():
    images, labels = read(sys.argv[1])
    test = split(labels)
    write("digits-train.npz", images[~test], labels[~test])
    write("digits-test.npz", images[test], labels[test])
    print(f"{(~test).sum()} training and {test.sum()} test images")


if __name__ == "__main__":
    main()
