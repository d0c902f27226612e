"""Finds images that are copies of each other, exactly or nearly.

Near copies (saved again, scaled, brightened a little) differ in at most `LIMIT` of the 64 bits of
each of two difference hashes. Hashes that differ in two bits agree in at least one of three bands:
only those that share a band are compared, so a hundred thousand images take seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

LIMIT = 2
# (shift, width) of the three bands; one more than the bits that may differ.
_BANDS = ((0, 22), (22, 21), (43, 21))
# How many are compared at once: enough for numpy to be fast, and 8 MiB a table.
_BLOCK = 1 << 20


def exact_groups(digests: Sequence[bytes]) -> list[list[int]]:
    """Return the positions of equal digests, two or more a group."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, digest in enumerate(digests):
        groups[digest].append(position)
    return [group for group in groups.values() if len(group) > 1]


def copied_classes(classes: Iterable[AbstractSet[str]]) -> list[str]:
    """Return the classes that hold only copies of images in other classes.

    Such are folders that a script has left beside the classes (`trainImageSet`). Where all images
    of a class were copied so, that class holds nothing but copies, too: the folder that mixes more
    classes is taken for the copy.

    Args:
        classes: of each different image, the classes that it is in.
    """
    by_class: dict[str, list[set[str]]] = defaultdict(list)
    for homes in classes:
        shared = set(homes)
        for name in shared:
            by_class[name].append(shared)
    copied: list[str] = []
    while True:
        found = [name for name in by_class if all(len(homes) > 1 for homes in by_class[name])]
        if not found:
            return sorted(copied)
        worst = max(found, key=lambda n: (len(set().union(*by_class[n])), len(by_class[n]), n))
        for homes in by_class.pop(worst):
            homes.discard(worst)
        copied.append(worst)


def near_groups(across: np.ndarray, down: np.ndarray) -> list[list[int]]:
    """Return the positions of near copies, two or more a group; equal hashes are near too.

    Args:
        across: the hashes from left to right, uint64 [N].
        down: the hashes from top to bottom, uint64 [N].
    """
    if not len(across):
        return []
    hashes, member_of = np.unique(np.stack([across, down], axis=1), axis=0, return_inverse=True)
    parents = list(range(len(hashes)))
    for a, b in _close_pairs(hashes):
        parents[_root(parents, a)] = _root(parents, b)
    groups: dict[int, list[int]] = defaultdict(list)
    for position, unique in enumerate(member_of.reshape(-1).tolist()):
        groups[_root(parents, unique)].append(position)
    return [group for group in groups.values() if len(group) > 1]


def _close_pairs(hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    for shift, width in _BANDS:
        band = (hashes[:, 0] >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, starts):
            if len(bucket) > 1:
                yield from _close_in(hashes, bucket)


def _close_in(hashes: np.ndarray, bucket: np.ndarray) -> Iterator[tuple[int, int]]:
    across, down = hashes[bucket].T
    rows = max(1, _BLOCK // len(bucket))
    for start in range(0, len(bucket), rows):
        differing = across[start : start + rows, None] ^ across[None, start:]
        first, second = np.nonzero(_ones(differing) <= LIMIT)
        later = first < second
        first, second = first[later] + start, second[later] + start
        both = _ones(down[first] ^ down[second]) <= LIMIT
        yield from zip(bucket[first[both]].tolist(), bucket[second[both]].tolist(), strict=True)


def _ones(words: np.ndarray) -> np.ndarray:
    """Count the bits of uint64 words; numpy before 2.0 has no function for it."""
    pairs = words - ((words >> np.uint64(1)) & np.uint64(0x5555555555555555))
    threes = np.uint64(0x3333333333333333)
    fours = (pairs & threes) + ((pairs >> np.uint64(2)) & threes)
    eights = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.asarray((eights * np.uint64(0x0101010101010101)) >> np.uint64(56))


def _root(parents: list[int], item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item
