"""Torch-Pruning on torchvision's ResNet-50: prints its version, how many groups it finds, and three lines of milliseconds:
building the dependencies, that and collecting all groups, that and pruning half of every group."""
import sys, time

# Torch-Pruning prints its own remarks, from the import on.
answers, sys.stdout = sys.stdout, sys.stderr
import torch, torchvision, torch_pruning
from importlib.metadata import version

RUNS = 5
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
image = torch.randn(1, 3, 224, 224)


def timed(f):
    start = time.perf_counter()
    result = f()
    return result, 1e3 * (time.perf_counter() - start)


def dependencies(model):
    return torch_pruning.DependencyGraph().build_dependency(model, image)


def groups(graph, model):
    # The classes stay.
    return list(graph.get_all_groups(ignored_layers=[model.fc]))


def prune(graph, model):
    for group in graph.get_all_groups(ignored_layers=[model.fc]):
        group.prune(list(range(0, len(group[0].idxs), 2)))


build, collect, cut, found = [], [], [], []
for run in range(RUNS + 1):
    model = torchvision.models.resnet50(weights=None).eval()
    graph, built = timed(lambda: dependencies(model))
    found, collected = timed(lambda: groups(graph, model))
    _, pruned = timed(lambda: prune(graph, model))
    # The first run warms up.
    if run > 0:
        build.append(built)
        collect.append(built + collected)
        cut.append(built + pruned)
print(version("torch-pruning"), file=answers)
print(len(found), file=answers)
for times in (build, collect, cut):
    print(*times, file=answers)
