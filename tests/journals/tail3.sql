PRAGMA application_id = 1953263463;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE entries ( -- what was logged: log[time][key] = value
	run_id INTEGER NOT NULL, 
	time BIGINT NOT NULL, 
	-- keys.id of the same run
	key_id INTEGER NOT NULL, 
	-- see the view log; 0 hides an older value
	kind SMALLINT NOT NULL, 
	-- NULL for None and for a NaN
	value, 
	PRIMARY KEY (run_id, time, key_id), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;
INSERT INTO "entries" VALUES(1,0,1,4,0.5);
CREATE TABLE environments ( -- in which trials ran: software, machine; each once, however many share it
	-- in the order in which they were made
	id INTEGER NOT NULL, 
	-- hash of the record
	uid TEXT NOT NULL, 
	-- counts the changes of the record
	edit BIGINT NOT NULL, 
	-- unix seconds
	created FLOAT NOT NULL, 
	-- JSON
	record TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (uid)
);
CREATE TABLE keys ( -- the keys of a run
	run_id INTEGER NOT NULL, 
	-- counts a run's keys in first-written order
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	PRIMARY KEY (run_id, id), 
	UNIQUE (run_id, name), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;
INSERT INTO "keys" VALUES(1,1,'loss');
CREATE TABLE marks ( -- when a run had got to a time: one a flush
	run_id INTEGER NOT NULL, 
	time BIGINT NOT NULL, 
	-- unix seconds
	wall FLOAT NOT NULL, 
	PRIMARY KEY (run_id, time), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;
INSERT INTO "marks" VALUES(1,0,1.79603962974874520296e+09);
CREATE TABLE projects ( -- what groups and trials belong to
	-- in the order in which they were made
	id INTEGER NOT NULL, 
	-- its name
	uid TEXT NOT NULL, 
	-- counts the changes of the record
	edit BIGINT NOT NULL, 
	-- unix seconds
	created FLOAT NOT NULL, 
	-- JSON
	record TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (uid)
);
CREATE TABLE runs ( -- one training run each; a resumed run is a child of the run that it continues
	-- short name of the run within this file
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	-- 32 hex digits
	uuid VARCHAR(32) NOT NULL, 
	-- uuid of the parent, which may be in another file
	resumed_from VARCHAR(32), 
	-- last time of the parent that is seen; -1: none
	resumed_at BIGINT, 
	-- unix seconds
	created FLOAT NOT NULL, 
	-- unix seconds of the last flush
	updated FLOAT NOT NULL, 
	-- unix seconds since when who wrote last could write
	opened FLOAT, 
	-- finished or failed; NULL while open, and if it was lost
	outcome VARCHAR(16), 
	-- of the process that wrote last
	host TEXT, 
	-- of the process that wrote last
	pid INTEGER, 
	-- of the host when it wrote
	boot_id TEXT, 
	-- its command line
	command TEXT, 
	-- of Python, this package and the platform
	versions TEXT, 
	-- how often a writer has opened the run
	epoch BIGINT NOT NULL, 
	-- how much was assigned, in bytes of its journals; all of it is in here
	high_water BIGINT NOT NULL, 
	-- no entry of the run is before
	first_time BIGINT, 
	-- no entry of the run is after
	last_time BIGINT, 
	-- 0: none of its entries has kind 0
	deletions BIGINT NOT NULL, 
	UNIQUE (uuid)
);
INSERT INTO "runs" VALUES(1,'ed37629996e84b699c941161ada29c58',NULL,NULL,1.79603962965319705006e+09,1.79603962974874520296e+09,1.79603962965319705006e+09,NULL,'host',1110,'00000000-0000-4000-8000-000000000000','python log.py','python 3.11.7, traininglog 0.1.0, Linux x86_64',1,68,0,0,0);
CREATE TABLE segments ( -- numbers of one key that were sealed; those of a key do not overlap in time
	-- never used again
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_id INTEGER NOT NULL, 
	-- keys.id of the same run
	key_id INTEGER NOT NULL, 
	-- time of the first value
	first BIGINT NOT NULL, 
	-- time of the last value
	last BIGINT NOT NULL, 
	-- between times; 0: these are packed, too
	step BIGINT NOT NULL, 
	-- how many values
	size INTEGER NOT NULL, 
	-- of all values, as in entries; 0: packed
	kind SMALLINT NOT NULL, 
	-- how they are packed
	codec SMALLINT NOT NULL, 
	-- crc32 of run, key, and the others
	checksum BIGINT NOT NULL, 
	-- packed; NULL where they are regular
	times BLOB, 
	-- the values, packed
	data BLOB NOT NULL, 
	UNIQUE (run_id, key_id, first), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
CREATE TABLE status ( -- what is known of a run and not bound to a time: log.status[key] = value
	-- in first-written order
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	-- as in entries
	kind SMALLINT NOT NULL, 
	value, 
	PRIMARY KEY (id), 
	UNIQUE (run_id, "key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "status" VALUES(1,1,'iterations_done',3,0);
INSERT INTO "status" VALUES(2,1,'epochs_done',3,0);
INSERT INTO "status" VALUES(3,1,'_epoch_ends',7,'[]');
INSERT INTO "status" VALUES(4,1,'resumed_from',1,NULL);
CREATE TABLE summaries ( -- what a run logged of each key, as old as its totals
	run_id INTEGER NOT NULL, 
	-- keys.id of the same run
	key_id INTEGER NOT NULL, 
	-- of values
	count BIGINT NOT NULL, 
	-- time of the last value
	last BIGINT NOT NULL, 
	-- of the last value, as in entries
	kind SMALLINT NOT NULL, 
	-- the last value, as in entries
	value, 
	-- of the numbers among the values
	least, 
	-- of the numbers among the values
	greatest, 
	PRIMARY KEY (run_id, key_id), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE TABLE totals ( -- how much a run logged itself, as it was when it was sealed
	run_id INTEGER NOT NULL, 
	-- of the run; when it differs: old
	high_water BIGINT NOT NULL, 
	-- times that have a value
	rows BIGINT NOT NULL, 
	-- of values
	count BIGINT NOT NULL, 
	-- time of the first value
	first BIGINT, 
	-- time of the last value
	last BIGINT, 
	PRIMARY KEY (run_id), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
CREATE TABLE traininglog_schema (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT traininglog_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "traininglog_schema" VALUES('0003');
CREATE TABLE trial_groups ( -- sets of trials of one project
	-- in the order in which they were made
	id INTEGER NOT NULL, 
	-- hash of name and project
	uid TEXT NOT NULL, 
	-- projects.uid
	project_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	-- counts the changes of the record
	edit BIGINT NOT NULL, 
	-- unix seconds
	created FLOAT NOT NULL, 
	-- JSON
	record TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (uid)
);
CREATE TABLE trials ( -- experiments, each the description of a run
	-- in the order in which they were made
	id INTEGER NOT NULL, 
	-- hash and revision
	uid TEXT NOT NULL, 
	-- of project, name, version and parameters
	hash TEXT NOT NULL, 
	-- counts trials of the same hash from 0
	revision INTEGER NOT NULL, 
	-- projects.uid
	project_id TEXT NOT NULL, 
	-- trial_groups.uid
	group_id TEXT, 
	name TEXT, 
	-- the number of the status
	status INTEGER NOT NULL, 
	-- uuid of the run that it writes, or wrote last
	log VARCHAR(32), 
	-- counts the changes of the record
	edit BIGINT NOT NULL, 
	-- unix seconds
	created FLOAT NOT NULL, 
	-- JSON; the columns before are taken from it
	record TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (uid)
);
CREATE INDEX runs_by_parent ON runs (resumed_from);
CREATE INDEX trial_groups_by_project ON trial_groups (project_id);
CREATE INDEX trials_by_status ON trials (status);
CREATE INDEX trials_by_project ON trials (project_id);
CREATE INDEX trials_by_hash ON trials (hash);
CREATE INDEX trials_by_group ON trials (group_id);
CREATE INDEX trials_by_name ON trials (name);
CREATE VIEW log AS -- what each run itself logged, for people who use SQL
SELECT runs.uuid AS run, entries.time AS time, keys.name AS key,
  CASE WHEN entries.kind = 4 AND entries.value IS NULL THEN 'NaN' ELSE entries.value END AS value,
  CASE entries.kind WHEN 1 THEN 'none' WHEN 2 THEN 'bool' WHEN 3 THEN 'int' WHEN 4 THEN 'float'
    WHEN 5 THEN 'text' WHEN 6 THEN 'bytes' WHEN 7 THEN 'json' WHEN 8 THEN 'array'
    WHEN 9 THEN 'datetime' WHEN 10 THEN 'uuid' WHEN 11 THEN 'path' WHEN 12 THEN 'enum' END AS type
FROM entries
JOIN runs ON runs.id = entries.run_id
JOIN keys ON keys.run_id = entries.run_id AND keys.id = entries.key_id
WHERE entries.kind <> 0;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',1);
COMMIT;
