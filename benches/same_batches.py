"""The random numbers of a retraining, drawn as the service draws them, so that another program sees the same batches.

ChaCha8 streams with the keys of `src/data/order.rs` (order of the samples) and `src/data/augment.rs` (changes of the
images).
"""

import numpy as np


def chacha8(key, streams, blocks):
    """The first `blocks` blocks of 16 words of each stream: [streams, 16 * blocks] of uint32."""
    key = np.frombuffer(key, "<u4")
    streams = np.asarray(streams, np.uint64)[:, None]
    counter = np.arange(blocks, dtype=np.uint64)[None, :]
    shape = (streams.shape[0], blocks)
    start = [np.full(shape, word, np.uint32) for word in np.frombuffer(b"expand 32-byte k", "<u4")]
    start += [np.full(shape, word, np.uint32) for word in key]
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    for words in (counter, streams):
        start += [np.broadcast_to(part, shape).astype(np.uint32) for part in (words & low, words >> high)]
    x = list(start)

    def turn(value, bits):
        return (value << np.uint32(bits)) | (value >> np.uint32(32 - bits))

    def quarter(a, b, c, d):
        for one, two, three, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[one] = x[one] + x[two]
            x[three] = turn(x[three] ^ x[one], bits)

    for _ in range(4):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        for row in range(4):
            quarter(row, 4 + (row + 1) % 4, 8 + (row + 2) % 4, 12 + (row + 3) % 4)
    return np.stack([a + b for a, b in zip(x, start)], -1).reshape(shape[0], -1)


def below(low, high, bound):
    """Numbers below `bound` from pairs of words."""
    return ((int(high) << 32 | int(low)) * bound) >> 64


def order(count, seed, epoch):
    """The samples in the order of an epoch."""
    key = seed.to_bytes(8, "little") + bytes(8) + b"order of samples"
    words = chacha8(key, [epoch], count // 8 + 1)[0]
    samples = list(range(count))
    for drawn, last in enumerate(range(count - 1, 0, -1)):
        other = below(words[2 * drawn], words[2 * drawn + 1], last + 1)
        samples[last], samples[other] = samples[other], samples[last]
    return np.array(samples)


def changed(images, samples, seed, epoch, padding, flip):
    """The given samples of NCHW images, shifted by up to `padding` pixels, zeros coming in, and mirrored at random."""
    key = seed.to_bytes(8, "little") + epoch.to_bytes(8, "little") + b"augment a sample"
    words = chacha8(key, samples, 1)
    height, width = images.shape[2:]
    out = np.empty((len(samples), *images.shape[1:]), images.dtype)
    for place, sample in enumerate(samples):
        down, right = (below(words[place, i], words[place, i + 1], 2 * padding + 1) for i in (0, 2))
        padded = np.pad(images[sample], ((0, 0), (padding, padding), (padding, padding)))
        window = padded[:, down : down + height, right : right + width]
        out[place] = window[:, :, ::-1] if flip and words[place, 4] & 1 else window
    return out
