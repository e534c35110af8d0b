-- 14 MB: the tables of a library, as Django's models make them, with made-up rows;
-- of Django's own tables those that its admin reads.
BEGIN;
CREATE TABLE "django_admin_log" ("id" integer NOT NULL PRIMARY KEY
  AUTOINCREMENT, "object_id" text NULL, "object_repr" varchar(200) NOT NULL,
  "action_flag" smallint unsigned NOT NULL CHECK ("action_flag" >= 0),
  "change_message" text NOT NULL, "content_type_id" integer NULL REFERENCES
  "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED, "user_id" integer
  NOT NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED,
  "action_time" datetime NOT NULL);
CREATE INDEX "django_admin_log_content_type_id_c4bce8eb" ON "django_admin_log"
  ("content_type_id");
CREATE INDEX "django_admin_log_user_id_c564eba6" ON "django_admin_log"
  ("user_id");
CREATE TABLE "django_content_type" ("id" integer NOT NULL PRIMARY KEY
  AUTOINCREMENT, "app_label" varchar(100) NOT NULL, "model" varchar(100) NOT
  NULL);
CREATE UNIQUE INDEX "django_content_type_app_label_model_76bd3d3b_uniq" ON
  "django_content_type" ("app_label", "model");
CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "password" varchar(128) NOT NULL, "last_login" datetime NULL, "is_superuser"
  bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE, "last_name"
  varchar(150) NOT NULL, "email" varchar(254) NOT NULL, "is_staff" bool NOT
  NULL, "is_active" bool NOT NULL, "date_joined" datetime NOT NULL,
  "first_name" varchar(150) NOT NULL);
CREATE TABLE "library_author" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL, "born" integer NOT NULL, "bio" text NOT NULL);
CREATE TABLE "library_tag" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(40) NOT NULL UNIQUE);
CREATE TABLE "library_book" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "title" varchar(200) NOT NULL, "genre" varchar(20) NOT NULL, "language"
  varchar(2) NOT NULL, "year" integer NOT NULL, "summary" text NOT NULL,
  "author_id" bigint NOT NULL REFERENCES "library_author" ("id") DEFERRABLE
  INITIALLY DEFERRED);
CREATE TABLE "library_book_tags" ("id" integer NOT NULL PRIMARY KEY
  AUTOINCREMENT, "book_id" bigint NOT NULL REFERENCES "library_book" ("id")
  DEFERRABLE INITIALLY DEFERRED, "tag_id" bigint NOT NULL REFERENCES
  "library_tag" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "library_loan" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "reader" varchar(60) NOT NULL, "taken" date NOT NULL, "returned" date NULL,
  "book_id" bigint NOT NULL REFERENCES "library_book" ("id") DEFERRABLE
  INITIALLY DEFERRED);
CREATE INDEX "library_author_born_eb77e6d6" ON "library_author" ("born");
CREATE INDEX "library_book_title_fccd0c46" ON "library_book" ("title");
CREATE INDEX "library_book_language_d41ed25b" ON "library_book" ("language");
CREATE INDEX "library_book_author_id_d9a3b67e" ON "library_book" ("author_id");
CREATE UNIQUE INDEX "library_book_tags_book_id_tag_id_c3660ce1_uniq" ON
  "library_book_tags" ("book_id", "tag_id");
CREATE INDEX "library_book_tags_book_id_7c6729bd" ON "library_book_tags"
  ("book_id");
CREATE INDEX "library_book_tags_tag_id_ad3c9ecb" ON "library_book_tags"
  ("tag_id");
CREATE INDEX "library_loan_taken_752cf775" ON "library_loan" ("taken");
CREATE INDEX "library_loan_book_id_2771127e" ON "library_loan" ("book_id");
CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY,
  "session_data" text NOT NULL, "expire_date" datetime NOT NULL);
CREATE INDEX "django_session_expire_date_a5c62663" ON "django_session"
  ("expire_date");
INSERT INTO django_content_type VALUES
  (1, 'admin', 'logentry'), (4, 'auth', 'user'), (6, 'sessions', 'session'),
  (7, 'library', 'author'), (8, 'library', 'tag'), (9, 'library', 'book'),
  (10, 'library', 'loan');
INSERT INTO auth_user(id, password, is_superuser, username, first_name,
                      last_name, email, is_staff, is_active, date_joined)
VALUES (1, '!', 1, 'admin', '', '', 'a@example.com', 1, 1, '2024-01-01');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO library_author
SELECT i, printf('Author %04x', i * 40503 % 65536), 1800 + i * 31 % 200,
       printf('%.*c', 200 + i * 37 % 300, 'b')
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO library_tag SELECT i, printf('tag %d', i) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16000)
INSERT INTO library_book(id, title, author_id, genre, language, year, summary)
SELECT i, printf('%s of the %08x', CASE i % 5 WHEN 0 THEN 'River' ELSE 'Tale' END,
                 i * 2654435761 % 4294967296),
       i * 2654435761 % 4294967296 % 3000 + 1,
       CASE i % 3 WHEN 0 THEN 'history' WHEN 1 THEN 'novel' ELSE 'science' END,
       CASE i % 4 WHEN 0 THEN 'de' ELSE 'en' END, 1900 + i * 31 % 124,
       printf('%.*c', 150 + i * 41 % 250, 's')
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 32000)
INSERT INTO library_book_tags SELECT i, (i + 1) / 2, i * 7 % 60 + 1 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80000)
INSERT INTO library_loan(id, book_id, reader, taken, returned)
SELECT i, i * 2654435761 % 4294967296 % 16000 + 1, printf('Reader %d', i % 2500),
       date('2020-01-01', printf('+%d days', i * 1700 / 80000)),
       CASE WHEN i % 50 = 0 THEN NULL ELSE date('2020-01-20', printf('+%d days',
       i * 1700 / 80000)) END
FROM n;
COMMIT;
