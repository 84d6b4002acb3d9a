"""GrowingData: new cases from the next epoch on, nothing lost, nothing twice."""

from ignite.engine import Engine, Events
from torch.utils.data import DataLoader, Dataset

from bundle.errors import UserError
from bundle.handlers import GrowingData


class Cases(Dataset):
    def __init__(self, data):
        self.data = data

    def set_data(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index]


def seen_by_epoch(standing, workers=0):
    """Train for an epoch per list of `standing`, which is what stands when that epoch begins; gives the cases of each epoch."""
    seen = {}
    dataset = Cases(list(standing[0]))

    def step(engine, batch):
        seen.setdefault(engine.state.epoch, []).extend(batch.tolist())

    def now():
        found = standing[engine.state.epoch - 1]
        if isinstance(found, Exception):
            raise found
        return found

    engine = Engine(step)
    GrowingData(dataset, now).attach(engine)
    engine.run(DataLoader(dataset, batch_size=2, shuffle=True, num_workers=workers), max_epochs=len(standing))
    return [sorted(seen[epoch]) for epoch in sorted(seen)]


def test_each_epoch_sees_every_case_that_stands_once():
    assert seen_by_epoch([[0, 1, 2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]]) == [[0, 1, 2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]]


def test_worker_processes_see_them_too():
    assert seen_by_epoch([[0, 1], [0, 1, 2, 3]], workers=1) == [[0, 1], [0, 1, 2, 3]]


def test_cases_between_start_and_first_epoch():
    seen = []
    dataset = Cases([0])
    engine = Engine(lambda engine, batch: seen.extend(batch.tolist()))
    GrowingData(dataset, lambda: [0, 1, 2]).attach(engine)
    engine.run(DataLoader(dataset, batch_size=1), max_epochs=1)
    assert sorted(seen) == [0, 1, 2]


def test_fewer_cases_or_an_unreadable_list_change_nothing():
    standing = [[0, 1, 2], [0], UserError("list", "is being replaced"), OSError(), [0, 1, 2, 3]]
    assert seen_by_epoch(standing) == [[0, 1, 2]] * 4 + [[0, 1, 2, 3]]


def test_what_validates_and_tests_is_never_taken_up():
    """Folds move with each new case: 7 and 8, which are held out, would be trained on from the second epoch on."""
    seen = []
    dataset = Cases([0, 1])
    engine = Engine(lambda engine, batch: seen.extend(batch.tolist()))
    found = iter([[0, 1], [0, 2, 7, 8], [0, 1, 2, 3, 7]])
    GrowingData(dataset, lambda: next(found), [Cases([7]), Cases([8])]).attach(engine)
    engine.run(DataLoader(dataset, batch_size=1), max_epochs=3)
    assert [sorted(seen[part]) for part in (slice(2), slice(2, 4), slice(4, None))] == [[0, 1], [0, 1], [0, 1, 2, 3]]


def test_the_length_of_the_epoch_follows():
    lengths = []
    dataset = Cases([0, 1])
    engine = Engine(lambda engine, batch: None)
    GrowingData(dataset, lambda: list(range(2 * engine.state.epoch))).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: lengths.append(engine.state.epoch_length))
    engine.run(DataLoader(dataset, batch_size=2), max_epochs=3)
    assert lengths == [1, 2, 3] and engine.state.iteration == 9  # whole epochs, in units of the length of now
