import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from esdseg.sample.terrain import PathTree, least_cost_tree


def test_accumulate_sums_all_that_lies_upstream() -> None:
    #  0 -> 1 -> 3 <- 2,  4 alone
    tree = PathTree(np.array([1, 3, 3, 3, 4]))
    assert tree.accumulate(np.array([1.0, 2.0, 4.0, 8.0, 16.0])).tolist() == [1.0, 3.0, 4.0, 15.0, 16.0]


def test_accumulate_agrees_with_walking_every_path() -> None:
    rng = np.random.default_rng(0)
    downstream = np.array([0] + [int(rng.integers(0, node)) for node in range(1, 200)])
    weight = rng.random(200)
    expected = np.zeros(200)
    for start in range(200):
        node = start
        while True:
            expected[node] += weight[start]
            if downstream[node] == node:
                break
            node = downstream[node]
    np.testing.assert_allclose(PathTree(downstream).accumulate(weight), expected)


def test_least_cost_tree_follows_a_cheap_channel() -> None:
    cost = np.full((9, 9), 10.0, np.float32)
    cost[4, :] = 1.0
    tree = least_cost_tree(cost, np.array([4 * 9]))
    node = 4 * 9 + 8
    for column in range(7, -1, -1):
        node = int(tree.downstream[node])
        assert node == 4 * 9 + column


def test_least_cost_tree_finds_the_shortest_distances() -> None:
    rng = np.random.default_rng(3)
    cost = rng.uniform(1, 5, (6, 6)).astype(np.float32)
    tree = least_cost_tree(cost, np.array([0]))
    edges = np.zeros((36, 36))
    for a in range(36):
        for b in range(36):
            down, right = abs(a // 6 - b // 6), abs(a % 6 - b % 6)
            if max(down, right) == 1:
                edges[a, b] = np.hypot(down, right) * (cost.ravel()[a] + cost.ravel()[b])
    expected = shortest_path(csr_array(edges), indices=0)
    for start in range(36):
        node, length = start, 0.0
        while tree.downstream[node] != node:
            length += edges[node, tree.downstream[node]]
            node = int(tree.downstream[node])
        assert node == 0
        np.testing.assert_allclose(length, expected[start], rtol=1e-6)


def test_every_node_reaches_a_root() -> None:
    cost = np.random.default_rng(5).uniform(1, 2, (20, 20)).astype(np.float32)
    roots = np.array([0, 19])
    tree = least_cost_tree(cost, roots)
    total = tree.accumulate(np.ones(400))
    assert total[roots].sum() == 400
