"""How areas are divided into blocks and windows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from esdseg.mapping.lattice import Cells, divide, divide_tiles
from esdseg.prediction.windows import Passes

SIDES = st.integers(1, 70)


@given(SIDES, SIDES, st.sampled_from([1, 2, 4, 8, 16]), st.data())
def test_each_cell_is_of_one_block_and_each_window_begins_in_one(
    rows: int, columns: int, size: int, data: st.DataObject
) -> None:
    passes = Passes(overlap=data.draw(st.integers(0, size - 1)))
    blocks = divide(Cells(3, -5, rows, columns))

    cells = [
        (row, column)
        for block in blocks
        for row in range(block.core.row, block.core.bottom)
        for column in range(block.core.column, block.core.right)
    ]
    assert sorted(cells) == [(row, column) for row in range(3, 3 + rows) for column in range(-5, columns - 5)]
    corners = [corner for block in blocks for corner in block.corners(size, passes)]
    assert sorted(corners) == [
        (3 + row, column - 5)
        for row in passes.window_starts(size, rows)
        for column in passes.window_starts(size, columns)
    ]
    for block in blocks:
        extent = block.extent([size], passes)
        assert extent.overlap(block.core) == block.core
        for row, column in block.corners(size, passes):
            assert extent.overlap(Cells(row, column, size, size)) == Cells(row, column, size, size)


@given(SIDES, st.sampled_from([2, 4, 8, 16]), st.data())
def test_windows_cover_every_cell_of_a_side(cells: int, size: int, data: st.DataObject) -> None:
    starts = Passes(overlap=data.draw(st.integers(0, size - 1))).window_starts(size, cells)
    covered = {cell for start in starts for cell in range(start, start + size)}
    assert covered >= set(range(cells))
    assert max(starts) + size == max(cells, size)


def test_blocks_are_of_a_tiles_size_and_small_remainders_join_the_last() -> None:
    sides = {
        cells: [block.core.columns for block in divide(Cells(0, 0, 1, cells))] for cells in (7, 16, 39, 40)
    }
    assert sides == {7: [7], 16: [16], 39: [16, 23], 40: [16, 16, 8]}


def test_tiles_that_touch_are_one_and_others_are_mapped_apart() -> None:
    left, right, corner, far = (Cells(*place, 16, 16) for place in ((0, 0), (0, 16), (16, 32), (0, 60)))

    blocks = divide_tiles([far, right, left, corner])

    assert {block.domain for block in blocks} == {Cells(0, 0, 32, 48), far}
    # Windows that begin between the corner and its neighbours reach into these.
    between = Cells(0, 32, 16, 16), Cells(16, 16, 16, 16)
    assert [block.core for block in blocks] == [left, right, between[0], far, between[1], corner]


@given(
    st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1),
    st.sampled_from([2, 4, 8, 16]),
    st.data(),
)
def test_windows_cover_every_cell_of_tiles_in_any_shape(
    places: set[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    passes = Passes(overlap=data.draw(st.integers(0, size - 1)))
    tiles = [Cells(16 * row, 16 * column, 16, 16) for row, column in places]

    covered = np.zeros((48, 48), bool)
    for block in divide_tiles(tiles):
        for row, column in block.corners(size, passes):
            covered[row : row + size, column : column + size] = True

    for tile in tiles:
        assert covered[tile.within(Cells(0, 0, 48, 48))].all()
