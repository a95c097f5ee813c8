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
INSERT INTO "entries" VALUES(1,1,1,4,0.5);
INSERT INTO "entries" VALUES(1,1,2,3,1);
INSERT INTO "entries" VALUES(1,1,3,5,'deleted by the child');
INSERT INTO "entries" VALUES(1,9,1,4,9.0);
INSERT INTO "entries" VALUES(2,1,1,0,NULL);
INSERT INTO "entries" VALUES(2,2,2,1,NULL);
INSERT INTO "entries" VALUES(2,2,3,2,1);
INSERT INTO "entries" VALUES(2,2,4,3,-9223372036854775808);
INSERT INTO "entries" VALUES(2,2,5,5,'naïve ''; --
');
INSERT INTO "entries" VALUES(2,2,6,6,X'00FF');
INSERT INTO "entries" VALUES(2,2,7,7,'[1,2.5,{"a":null}]');
INSERT INTO "entries" VALUES(2,2,8,9,'2024-05-06T07:08:09+00:00');
INSERT INTO "entries" VALUES(2,2,9,10,'00000000-0000-4000-8000-000000000001');
INSERT INTO "entries" VALUES(2,2,10,11,'a/b');
INSERT INTO "entries" VALUES(2,3,11,4,0.25);
INSERT INTO "entries" VALUES(2,3,12,8,X'934E554D5059010076007B276465736372273A20273C6932272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028322C2033292C207D202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A000001000200030004000500');
INSERT INTO "entries" VALUES(3,0,2,4,0.75);
INSERT INTO "entries" VALUES(3,3,1,4,0.5);
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
INSERT INTO "environments" VALUES(1,'df658041e53dd377c6e677ad804346c20f44e7c2de2b91f72caf81ef625cf2f8',0,1.79607488752539014818e+09,'{"uid":"df658041e53dd377c6e677ad804346c20f44e7c2de2b91f72caf81ef625cf2f8","environment":{"python":"3.11","host":"host"},"edit":0,"token":"9096bd17cb4348f8ab088e4dc19e2610","created":1796074887.5253901}');
CREATE TABLE group_members ( -- what is in which groups; of a trial its record says so, too
	-- of the member: trial, or run
	kind VARCHAR(8) NOT NULL, 
	-- trials.uid, or runs.uuid
	member TEXT NOT NULL, 
	-- trial_groups.uid
	group_id TEXT NOT NULL, 
	PRIMARY KEY (kind, member, group_id)
)
 WITHOUT ROWID;
INSERT INTO "group_members" VALUES('trial','dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18_0','1a81209b2c9d4936efeb1ce240cc075c937556788929567abeacd9f61bf3ff7f');
INSERT INTO "group_members" VALUES('trial','dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18_0','8aa17cc7b1f4ece26ddd335e5006b61a4be58f71080955b634d60e25c0c21882');
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
INSERT INTO "keys" VALUES(1,2,'step');
INSERT INTO "keys" VALUES(1,3,'gone');
INSERT INTO "keys" VALUES(1,4,'curve');
INSERT INTO "keys" VALUES(2,1,'gone');
INSERT INTO "keys" VALUES(2,2,'none');
INSERT INTO "keys" VALUES(2,3,'true');
INSERT INTO "keys" VALUES(2,4,'integer');
INSERT INTO "keys" VALUES(2,5,'text');
INSERT INTO "keys" VALUES(2,6,'bytes');
INSERT INTO "keys" VALUES(2,7,'list');
INSERT INTO "keys" VALUES(2,8,'moment');
INSERT INTO "keys" VALUES(2,9,'uuid');
INSERT INTO "keys" VALUES(2,10,'path');
INSERT INTO "keys" VALUES(2,11,'loss');
INSERT INTO "keys" VALUES(2,12,'array');
INSERT INTO "keys" VALUES(3,1,'loss');
INSERT INTO "keys" VALUES(3,2,'accuracy');
CREATE TABLE marks ( -- when a run had got to a time: one a flush
	run_id INTEGER NOT NULL, 
	time BIGINT NOT NULL, 
	-- unix seconds
	wall FLOAT NOT NULL, 
	PRIMARY KEY (run_id, time), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;
INSERT INTO "marks" VALUES(1,49,1.79607488736198520661e+09);
INSERT INTO "marks" VALUES(2,3,1.79607488743040418629e+09);
INSERT INTO "marks" VALUES(3,3,1.79607488755101871494e+09);
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
INSERT INTO "projects" VALUES(1,'dumped',0,1.79607488746655225755e+09,'{"uid":"dumped","name":"dumped","description":"na\u00efve","tags":{},"metadata":{},"edit":0,"token":"6dd040d5dd7a47e0b04a64a186cad443","created":1796074887.4665523}');
CREATE TABLE relations ( -- what a run is to another: it continues it, is a variant of it, or accompanies it
	run_id INTEGER NOT NULL, 
	-- continue, variant, or part
	role VARCHAR(8) NOT NULL, 
	-- uuid of a run, maybe of another file
	other VARCHAR(32) NOT NULL, 
	-- the high_water of the other run when this one began; 2**62: not known
	position BIGINT NOT NULL, 
	PRIMARY KEY (run_id), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "relations" VALUES(2,'continue','08301ee324b74ebb9f2860511bc14df0',2007);
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
INSERT INTO "runs" VALUES(1,'00000000000040008000000000000001',NULL,NULL,1.79607488734140777588e+09,1.79607488736198520661e+09,1.79607488734140777588e+09,'finished','host',1,NULL,'train','python 3.11.7, traininglog 0.1.0, Linux x86_64',1,2007,1,49,0);
INSERT INTO "runs" VALUES(2,'fe4aff3c611341f5ad3c7d58de755f6d','00000000000040008000000000000001',1,1.79607488738905644422e+09,1.79607488743040418629e+09,1.79607488738905644422e+09,'finished','host',1,NULL,'train','python 3.11.7, traininglog 0.1.0, Linux x86_64',1,1004,1,3,1);
INSERT INTO "runs" VALUES(3,'357efd2abd1a4502b602a001408f10a6',NULL,NULL,0.0,1.79607488756373381618e+09,1.79607488749526715285e+09,'finished','host',1,NULL,'train','python 3.11.7, traininglog 0.1.0, Linux x86_64',1,476,0,3,0);
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
INSERT INTO "segments" VALUES(1,1,4,10,49,1,40,4,1,484513685,NULL,X'000700B76DDBB66DDBF63F00000000000000001800000018000000180000001800000018000000180000001E0000406398A4B2DD73D26D95BCED0C302A6FD2F6DB0C2A9EA814006350F1CC9DA4B2CDF3762E038CBAAD92BB8DC173122A050063F09C745BC53377D2B6DB0C306A9BE7ED5C86492AA814006398A4B2CD73D26D95DC6D0C302A77D2B6DB0C2A9EA814006350F1CC9DA4B2CDF3762E038CBAAD92BB8DC173122A050063F09C745BC53377D2B6DB0C306A9BE7ED5C86492AA8140050A94C26936A3271381C8CC3813FE0F003FE3F0000FCFF3F00000000C0FF');
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
INSERT INTO "status" VALUES(5,2,'iterations_done',3,3);
INSERT INTO "status" VALUES(6,2,'epochs_done',3,1);
INSERT INTO "status" VALUES(7,2,'_epoch_ends',7,'[1]');
INSERT INTO "status" VALUES(8,2,'resumed_from',5,'00000000000040008000000000000001');
INSERT INTO "status" VALUES(9,2,'name',5,'dumped');
INSERT INTO "status" VALUES(10,3,'iterations_done',3,0);
INSERT INTO "status" VALUES(11,3,'epochs_done',3,0);
INSERT INTO "status" VALUES(12,3,'_epoch_ends',7,'[]');
INSERT INTO "status" VALUES(13,3,'resumed_from',1,NULL);
INSERT INTO "status" VALUES(14,3,'name',5,'trial');
INSERT INTO "status" VALUES(15,3,'_trial',5,'dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18_0');
INSERT INTO "status" VALUES(16,3,'_series',7,'["accuracy"]');
INSERT INTO "status" VALUES(17,3,'_chrono.runtime',7,'{"type":"value","val":0.007753837002383079}');
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
INSERT INTO "summaries" VALUES(1,1,2,9,4,9.0,0.5,9.0);
INSERT INTO "summaries" VALUES(1,2,1,1,3,1,1,1);
INSERT INTO "summaries" VALUES(1,3,1,1,5,'deleted by the child',NULL,NULL);
INSERT INTO "summaries" VALUES(1,4,40,49,4,7.0,1.42857142857142860314e+00,7.0);
INSERT INTO "summaries" VALUES(2,2,1,2,1,NULL,NULL,NULL);
INSERT INTO "summaries" VALUES(2,3,1,2,2,1,1,1);
INSERT INTO "summaries" VALUES(2,4,1,2,3,-9223372036854775808,-9223372036854775808,-9223372036854775808);
INSERT INTO "summaries" VALUES(2,5,1,2,5,'naïve ''; --
',NULL,NULL);
INSERT INTO "summaries" VALUES(2,6,1,2,6,X'00FF',NULL,NULL);
INSERT INTO "summaries" VALUES(2,7,1,2,7,'[1,2.5,{"a":null}]',NULL,NULL);
INSERT INTO "summaries" VALUES(2,8,1,2,9,'2024-05-06T07:08:09+00:00',NULL,NULL);
INSERT INTO "summaries" VALUES(2,9,1,2,10,'00000000-0000-4000-8000-000000000001',NULL,NULL);
INSERT INTO "summaries" VALUES(2,10,1,2,11,'a/b',NULL,NULL);
INSERT INTO "summaries" VALUES(2,11,1,3,4,0.25,0.25,0.25);
INSERT INTO "summaries" VALUES(2,12,1,3,8,X'934E554D5059010076007B276465736372273A20273C6932272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028322C2033292C207D202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A000001000200030004000500',NULL,NULL);
INSERT INTO "summaries" VALUES(3,1,1,3,4,0.5,0.5,0.5);
INSERT INTO "summaries" VALUES(3,2,1,0,4,0.75,0.75,0.75);
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
INSERT INTO "totals" VALUES(1,2007,42,44,1,49);
INSERT INTO "totals" VALUES(2,1004,2,11,2,3);
INSERT INTO "totals" VALUES(3,476,2,2,0,3);
CREATE TABLE traininglog_schema (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT traininglog_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "traininglog_schema" VALUES('0005');
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
INSERT INTO "trial_groups" VALUES(1,'8aa17cc7b1f4ece26ddd335e5006b61a4be58f71080955b634d60e25c0c21882','dumped','group',0,1.79607488747151684761e+09,'{"uid":"8aa17cc7b1f4ece26ddd335e5006b61a4be58f71080955b634d60e25c0c21882","name":"group","project_id":"dumped","description":null,"tags":{},"metadata":{},"edit":0,"token":"f5bf26d705ef4839a7088aa36e3a809f","created":1796074887.4715168}');
INSERT INTO "trial_groups" VALUES(2,'1a81209b2c9d4936efeb1ce240cc075c937556788929567abeacd9f61bf3ff7f','dumped','other',0,1.7960748874741921425e+09,'{"uid":"1a81209b2c9d4936efeb1ce240cc075c937556788929567abeacd9f61bf3ff7f","name":"other","project_id":"dumped","description":null,"tags":{},"metadata":{},"edit":0,"token":"734478536bd842e2966c68d14d7a0894","created":1796074887.4741921}');
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
INSERT INTO "trials" VALUES(1,'dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18_0','dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18',0,'dumped','8aa17cc7b1f4ece26ddd335e5006b61a4be58f71080955b634d60e25c0c21882','trial',302,'357efd2abd1a4502b602a001408f10a6',5,1.79607488748171520236e+09,'{"uid":"dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18_0","hash":"dc2c25ccb62d157965bcdb594bf3d9da22fa45d619c18c67a22b583d170cff18","revision":0,"name":"trial","description":null,"version":"1","tags":{"tag":1},"metadata":{},"parameters":{"lr":0.1,"nested":{"a":[1,true,null]},"big":1180591620717411303424},"project_id":"dumped","group_id":"8aa17cc7b1f4ece26ddd335e5006b61a4be58f71080955b634d60e25c0c21882","groups":["8aa17cc7b1f4ece26ddd335e5006b61a4be58f71080955b634d60e25c0c21882","1a81209b2c9d4936efeb1ce240cc075c937556788929567abeacd9f61bf3ff7f"],"status":{"value":302,"name":"Completed"},"errors":[],"log":"357efd2abd1a4502b602a001408f10a6","started":1796074887.5013275,"finished":1796074887.555809,"environment":"df658041e53dd377c6e677ad804346c20f44e7c2de2b91f72caf81ef625cf2f8","artifacts":[],"chronos":{"runtime":0.007753837002383079},"owner":null,"edit":5,"token":"dd59f0db69874c2a8e7eb40c4d2d3a92","created":1796074887.4817152}');
CREATE INDEX runs_by_parent ON runs (resumed_from);
CREATE INDEX trial_groups_by_project ON trial_groups (project_id);
CREATE INDEX trials_by_project ON trials (project_id);
CREATE INDEX trials_by_hash ON trials (hash);
CREATE INDEX trials_by_group ON trials (group_id);
CREATE INDEX trials_by_name ON trials (name);
CREATE INDEX trials_by_status ON trials (status);
CREATE INDEX group_members_by_group ON group_members (group_id);
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
INSERT INTO "sqlite_sequence" VALUES('runs',3);
INSERT INTO "sqlite_sequence" VALUES('segments',1);
COMMIT;
