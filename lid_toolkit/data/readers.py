"""Workers that are started once and read the batches of several sets, epoch after epoch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from torch.utils.data import Dataset

from lid_toolkit.data.loader import Item, Minibatch, MinibatchReader, checked, loaded, make_loader
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import Batch, utterances_in
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError

Request = tuple[int, Batch]
"""The number of a set, and a batch of it."""


class Readers:
    """Reads batches of several sets in the same workers; they end with this object.

    Starting workers anew takes seconds where the process is large, and each set would have its own.

    Args:
        sets: the sets.
        conf: crops and augmentations; used for batches with seeds.
        workers: number of worker processes; 0 reads in this process.
        gpu: whether a GPU gets the batches: they are then in pinned memory, from which it can copy while it
            computes, and int16 where that changes no sample.
        max_failed: largest proportion of utterances that may be unreadable, from 0 to 1.

    Raises:
        LidError: a list of noise or room recordings is missing.
    """

    def __init__(
        self,
        sets: Sequence[Utterances],
        conf: PreprocessorConf,
        workers: int,
        gpu: bool = False,
        max_failed: float = 1.0,
    ) -> None:
        self._sets, self._max_failed = tuple(sets), max_failed
        self._wanted = _Wanted()
        readers = [MinibatchReader(utterances, (), conf, conf.sample_rate) for utterances in sets]
        self._loader = make_loader(_Requests(readers, gpu), self._wanted, workers, gpu, persistent=True)

    def read(self, utterances: Utterances, batches: Sequence[Batch]) -> Generator[Minibatch, None, None]:
        """Yield batches of one of the sets in order, read ahead; one call's batches at a time.

        Raises:
            LidError: the sampling rate is wrong, too many utterances are unreadable, or a worker was killed.
        """
        number = next(place for place, own in enumerate(self._sets) if own is utterances)
        self._wanted.ask(number, batches)
        yield from checked(loaded(self._loader), utterances_in(batches), self._max_failed)


class _Wanted:
    """The requests of the next iteration of a loader."""

    def __init__(self) -> None:
        self._number = 0
        self._batches: Sequence[Batch] = ()

    def ask(self, number: int, batches: Sequence[Batch]) -> None:
        self._number, self._batches = number, batches

    def __iter__(self) -> Iterator[Request]:
        return ((self._number, batch) for batch in self._batches)


class _Requests(Dataset[Item]):
    """Batches by request. Errors are items: an error raised in a worker would lose its message."""

    def __init__(self, readers: Sequence[MinibatchReader], narrow: bool) -> None:
        self._readers, self._narrow = readers, narrow

    def __getitem__(self, request: Request) -> Item:
        number, batch = request
        try:
            minibatch = self._readers[number].read(batch)
        except LidError as error:
            return error
        return minibatch.narrowed() if self._narrow else minibatch
