import random

from cyaron import Graph, Polygon, Sequence, String, Vector

random.seed(7)
print(Graph.tree(6, weight_limit=(1, 9)))
print(Graph.DAG(5, 7))
print(String.random(8, charset="abc"), *Vector.random(4, [(1, 9)]))
print(Sequence(lambda i, f: i * i).get(1, 5))
print(len(Polygon.convex_hull(6).points))
