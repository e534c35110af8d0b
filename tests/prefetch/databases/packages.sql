-- 13 MB: the tables of the demo (scripts/demo_data.py), with made-up packages.
BEGIN;
CREATE TABLE packages(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  architecture TEXT NOT NULL,
  section TEXT NOT NULL,
  priority TEXT NOT NULL,
  maintainer TEXT NOT NULL,
  source TEXT NOT NULL,
  homepage TEXT,
  filename TEXT,
  sha256 TEXT,
  size INTEGER NOT NULL,
  installed_size INTEGER NOT NULL,
  UNIQUE(name, version, architecture));
CREATE TABLE descriptions(
  package_id INTEGER PRIMARY KEY REFERENCES packages(id),
  summary TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE TABLE dependencies(
  id INTEGER PRIMARY KEY,
  package_id INTEGER NOT NULL REFERENCES packages(id),
  kind TEXT NOT NULL,
  alternative INTEGER NOT NULL,
  target TEXT NOT NULL,
  relation TEXT,
  version TEXT);
CREATE TABLE files(
  id INTEGER PRIMARY KEY,
  package_id INTEGER NOT NULL REFERENCES packages(id),
  path TEXT NOT NULL);
CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  package_id INTEGER NOT NULL REFERENCES packages(id),
  what TEXT NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
INSERT INTO packages
SELECT i, printf('pkg-%08x', i * 2654435761 % 4294967296),
       printf('%d.%d-%d', i % 7, i * 31 % 50, i % 4 + 1), 'all',
       CASE WHEN i * 7919 % 10 < 4 THEN 'libs'
            ELSE printf('section%02d', i * 7919 % 37) END,
       'optional', printf('Team %03d <team%03d@example.com>', i % 211, i % 211),
       printf('src-%06x', i / 3 * 40503 % 16777216),
       printf('https://example.com/%d', i), printf('pool/main/%02x/%d.deb',
       i % 256, i), printf('%016x%016x', i * 2654435761, i * 40503),
       i * 2654435761 % 4294967296 % 900000, i * 40503 % 65536 * 4
FROM n;
INSERT INTO descriptions
SELECT id, printf('tool %d of %s for word%d', id, section, id * 31 % 400),
       printf('word%d word%d replication word%d %.*c', id * 7 % 900,
              id * 40503 % 65536 % 900, id * 13 % 900, 60 + id * 31 % 300, 'd')
FROM packages;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
INSERT INTO dependencies
SELECT i, i * 12000 / 50000 + 1,
       CASE i % 4 WHEN 0 THEN 'Recommends' ELSE 'Depends' END, 0,
       printf('pkg-%08x', (i * 40503 % 12000 + 1) * 2654435761 % 4294967296),
       '>=', printf('%d.0', i % 9)
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO files
SELECT i, i * 12000 / 40000 + 1, printf('/usr/share/%08x/%d', i * 2654435761 %
       4294967296, i)
FROM n;
CREATE INDEX packages_section ON packages(section, installed_size);
CREATE INDEX packages_source ON packages(source);
CREATE INDEX dependencies_package ON dependencies(package_id);
CREATE INDEX dependencies_target ON dependencies(target, kind);
CREATE INDEX files_package ON files(package_id);
CREATE INDEX files_path ON files(path);
CREATE INDEX events_package ON events(package_id);
CREATE VIRTUAL TABLE search USING fts5(
  name, summary, body, tokenize='porter unicode61');
INSERT INTO search(rowid, name, summary, body)
  SELECT p.id, p.name, d.summary, d.body
    FROM packages p JOIN descriptions d ON d.package_id = p.id ORDER BY p.id;
INSERT INTO search(search) VALUES('optimize');
COMMIT;
