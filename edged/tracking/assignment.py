"""Which rows go with which columns so that their weights add up to the most. Exact.

Rows and columns that want only each other are settled at once; on a street that is nearly all of them. The
rest is solved by shortest augmenting paths (Jonker and Volgenant 1987; Crouse 2016, "On implementing 2D
rectangular assignment algorithms"), its inner loop in numpy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


def assign(weights: F64) -> tuple[Index, Index]:
    """Pairs (rows, columns), rows ascending. `weights` float64 [n, m], finite; 0 and below: no pair."""
    wanted = weights > 0
    rows, columns = np.nonzero(wanted)
    if not len(rows):
        return rows, columns
    per_row, per_column = np.bincount(rows, minlength=len(weights)), np.bincount(columns)
    alone = (per_row[rows] == 1) & (per_column[columns] == 1)
    if alone.all():
        return rows, columns
    some_rows, some_columns = np.unique(rows[~alone]), np.unique(columns[~alone])
    block = weights[some_rows[:, None], some_columns]
    if len(some_rows) <= len(some_columns):
        left, right = np.arange(len(some_rows)), _solve(-np.maximum(block, 0))
    else:
        left, right = _solve(-np.maximum(block.T, 0)), np.arange(len(some_columns))
    gain = block[left, right] > 0  # whoever is left over was given a column that it does not want
    rows = np.concatenate([rows[alone], some_rows[left[gain]]])
    columns = np.concatenate([columns[alone], some_columns[right[gain]]])
    order = np.argsort(rows)
    return rows[order], columns[order]


def _solve(cost: F64) -> Index:
    """The column of each row for the least sum. `cost` [n, m], n <= m."""
    n, m = cost.shape
    u, v = cost.min(axis=1), np.zeros(m)
    column_of, row_of = np.full(n, -1, np.intp), np.full(m, -1, np.intp)
    for row, column in enumerate(cost.argmin(axis=1).tolist()):
        if row_of[column] < 0:  # reduced cost 0, and v is 0 wherever a column is free: still optimal
            column_of[row], row_of[column] = column, row
    for row in np.flatnonzero(column_of < 0).tolist():
        _augment(cost, u, v, column_of, row_of, row)
    return column_of


def _augment(cost: F64, u: F64, v: F64, column_of: Index, row_of: Index, start: int) -> None:
    """Give row `start` a column along the shortest path to a free one (Dijkstra on reduced costs)."""
    m = len(v)
    shortest, before = np.full(m, np.inf), np.full(m, -1, np.intp)
    open_ = np.full(m, 0.0)  # inf once a column is on the tree
    free = row_of < 0
    tree, row, least = [start], start, 0.0
    while True:
        reach = least + (cost[row] - u[row]) - v + open_
        better = reach < shortest
        shortest[better], before[better] = reach[better], row
        ahead = shortest + open_
        least = float(ahead.min())
        nearest = ahead == least
        ends = nearest & free
        column = int((ends if ends.any() else nearest).argmax())
        if free[column]:
            break
        open_[column] = np.inf
        row = int(row_of[column])
        tree.append(row)
    on_tree = np.isinf(open_)
    u[start] += least
    rest = tree[1:]
    u[rest] += least - shortest[column_of[rest]]
    v[on_tree] -= least - shortest[on_tree]
    while True:
        row = int(before[column])
        row_of[column] = row
        column_of[row], column = column, int(column_of[row])
        if row == start:
            return
