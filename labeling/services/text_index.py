"""The search index: which texts may hold a word. Kept in the same transaction as the texts.

SQLite: a contentless FTS5 table whose rowid is the text's id. It stores no text, so taking a row out needs the tokens
that were put in; they are made again from the text, which never changes. PostgreSQL: a table of tsvectors with GIN.
Each row also carries a token of its project, so that a search never walks through other projects' texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import connection, transaction

from labeling.services.text_terms import Terms, fold, tokens

TABLE = "labeling_text_index"
_BATCH = 2_000

CREATE = {
    "sqlite": [
        # detail=none: no positions. Phrases are looked up on the text, and the index is a third of the size.
        (
            f"CREATE VIRTUAL TABLE {TABLE} USING fts5(tokens, content='', detail=none, columnsize=0,"
            " tokenize='unicode61 remove_diacritics 0')"
        ),
        # An import adds thousands of chunks: merged less often and in larger pages it holds the database half as long,
        # and a search takes 0.1 ms instead of 0.05.
        *(
            f"INSERT INTO {TABLE} ({TABLE}, rank) VALUES ('{name}', {value})"  # noqa: S608
            for name, value in (("pgsz", 8000), ("automerge", 16), ("crisismerge", 32))
        ),
    ],
    "postgresql": [
        f"CREATE TABLE {TABLE} (example_id bigint PRIMARY KEY, tokens tsvector NOT NULL)",
        f"CREATE INDEX {TABLE}_tokens ON {TABLE} USING gin (tokens)",
    ],
}
DROP = f"DROP TABLE {TABLE}"


def add_texts(rows: Iterable[tuple[int, int, str]], *, using: Any = None) -> None:
    """Put (id, project id, text) rows into the index, inside the caller's transaction."""
    add_words([(pk, words_of(project_id, text)) for pk, project_id, text in rows], using=using)


def add_words(rows: Sequence[tuple[int, str]], *, using: Any = None) -> None:
    """Put (id, `words_of` the text) rows into the index, inside the caller's transaction."""
    database = using or connection
    with database.cursor() as cursor:
        if database.vendor == "sqlite":
            cursor.executemany(
                f"INSERT INTO {TABLE} (rowid, tokens) VALUES (%s, %s)",  # noqa: S608
                rows,
            )
            return
        cursor.execute(
            f"INSERT INTO {TABLE} (example_id, tokens)"  # noqa: S608
            " SELECT id, array_to_tsvector(string_to_array(words, ' '))"
            " FROM unnest(%s::bigint[], %s::text[]) AS new (id, words)"
            " ON CONFLICT (example_id) DO UPDATE SET tokens = excluded.tokens",
            [[row[0] for row in rows], [row[1] for row in rows]],
        )


def words_of(project_id: int, text: str) -> str:
    """The tokens of a text, divided by blanks: what a row of the index holds."""
    return " ".join([_project_token(project_id), *set(tokens(fold(text)))])


def remove_texts(rows: Iterable[tuple[int, int, str]]) -> None:
    """Take (id, project id, text) rows out of the index, inside the caller's transaction."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(
                f"INSERT INTO {TABLE} ({TABLE}, rowid, tokens) VALUES ('delete', %s, %s)",  # noqa: S608
                [(pk, words_of(project_id, text)) for pk, project_id, text in rows],
            )
        else:
            cursor.execute(
                f"DELETE FROM {TABLE} WHERE example_id = ANY(%s)",  # noqa: S608
                [[row[0] for row in rows]],
            )


def rebuild(database: Any, *, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Index every text that there is, in short transactions.

    Raw SQL on `database` (a connection), since a migration calls it."""
    last = done = 0
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM labeling_example")
        total = cursor.fetchone()[0]
        while True:
            cursor.execute(
                "SELECT id, project_id, text FROM labeling_example WHERE id > %s ORDER BY id LIMIT %s",
                [last, _BATCH],
            )
            rows = cursor.fetchall()
            if not rows:
                return
            with transaction.atomic(using=database.alias):
                add_texts(rows, using=database)
            last, done = rows[-1][0], done + len(rows)
            on_progress(done, total)


def candidates(project_id: int, terms: Terms, *, limit: int) -> list[int] | None:
    """Ids of the project's texts that may hold `terms`, or None where they are more than `limit`.

    A text that holds them is always among these; whether one does is for `terms.holds` to say."""
    with connection.cursor() as cursor:
        cursor.execute(select_ids(limit=limit + 1), [match(project_id, terms)])
        found = [row[0] for row in cursor.fetchall()]
    return found if len(found) <= limit else None


def select_ids(*, limit: int | None = None) -> str:
    """SQL of the ids that a query (its one parameter, see `match`) finds."""
    tail = f" LIMIT {int(limit)}" if limit is not None else ""
    if connection.vendor == "sqlite":
        return f"SELECT rowid FROM {TABLE} WHERE {TABLE} MATCH %s{tail}"  # noqa: S608
    return f"SELECT example_id FROM {TABLE} WHERE tokens @@ %s::tsquery{tail}"  # noqa: S608


def match(project_id: int, terms: Terms) -> str:
    """The parameter of `select_ids` in the language of the database."""
    query = _sqlite_query if connection.vendor == "sqlite" else _postgres_query
    return query(project_id, terms.pairs, terms.beginnings)


# The tokens are Han characters by construction, and the project's is a letter and a number: nothing of what a person
# typed reaches these languages as more than a quoted token.


def _sqlite_query(project_id: int, pairs: Sequence[str], beginnings: Sequence[str]) -> str:
    words = [f'"{pair}"' for pair in pairs]
    if not words:
        words = [f'"{letter}"*' for letter in beginnings]
    return " AND ".join([*words, f'"{_project_token(project_id)}"'])


def _postgres_query(project_id: int, pairs: Sequence[str], beginnings: Sequence[str]) -> str:
    words = [f"'{pair}'" for pair in pairs] or [f"'{letter}':*" for letter in beginnings]
    return " & ".join([*words, f"'{_project_token(project_id)}'"])


def _project_token(project_id: int) -> str:
    return f"p{project_id}"
