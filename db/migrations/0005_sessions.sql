-- Who is signed in to the console. Only the sha-256 of what a browser holds is kept, so nobody signs
-- in with what stands here; the key behind a session says who it is, and ends it when it is revoked.
create table holdfast.sessions (
  hash bytea primary key,
  key_id uuid not null references holdfast.api_keys (id) on delete cascade,
  began_at timestamptz not null default clock_timestamp(),
  ends_at timestamptz not null
);
create index sessions_of_key on holdfast.sessions (key_id, began_at);
create index sessions_by_end on holdfast.sessions (ends_at);
