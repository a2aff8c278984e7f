"""Kaldi tables of millions of rows: read, compare, sort, select, merge and write them.

A training set such as VoxLingua107's has 2.5 million utterances and several tables. As Python dictionaries
they are too large, and above all they cannot be shared: each data-loading worker forked from a process would
copy them, because reading a Python object changes its reference count. Here a table is one ``bytes`` object
with its text, and two integers per row. It takes the size of the file and 16 bytes per row, forked workers
share it, and pickling it copies three arrays.

Measured with ``benchmarks/data.py directories`` on a directory of 2.5 million utterances in 107 languages, as
processor time and largest resident memory of the process, beside the same work in dictionaries
(``benchmarks/directory_dicts.py``). All on one core of a busy machine:

                                              seconds   MiB    in dicts: seconds   MiB
    read two tables, compare the keys             6.7   733                 11.2  1186
    the same, one of them not sorted             11.5   790                 10.4  1186
    read three, compare all (validate)           12.5   857                 17.1  1768
    read, select and write (split in 4)          10.2   734                 26.5  1416
    read, merge and write (combine 4)            18.0   938                 25.4  1550

(Sorting in the second row: dictionaries are sorted only when they are written, here in the last two rows.)
So sorted tables take 27 to 62 % less time and 38 to 52 % less memory than dictionaries, and workers share
that memory. For small sets a dictionary would do, but one implementation serves both.

- :mod:`~lid_toolkit.datadir.tables.table`: the table and what other packages use.
- :mod:`~lid_toolkit.datadir.tables.keys`: comparing and sorting keys as integers.
- :mod:`~lid_toolkit.datadir.tables.scan`: from text to rows, correcting or reporting faulty lines.
"""
