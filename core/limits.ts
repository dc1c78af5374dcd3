// Every bound in the system, with its unit and its reason. docs/limits.md is generated from the same table by a test.
// A number that bounds something and stands elsewhere is a defect.

export interface Limit {
  readonly value: number
  readonly unit: 'bytes' | 'ms' | 'count' | 'per-minute' | 'depth'
  readonly reason: string
}

function limit(value: number, unit: Limit['unit'], reason: string): Limit {
  return { value, unit, reason }
}

const KB = 1024
const MB = 1024 * KB
const GB = 1024 * MB
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

// `as Limit` on each row: isolatedDeclarations cannot look into a call, and the table must keep its names.
export const LIMITS = {
  // Certificates and identities
  identityBytesMax: limit(
    8 * KB,
    'bytes',
    'An identity extension; larger trait sets belong in fewer, narrower traits.',
  ) as Limit,
  certificateBytesMax: limit(64 * KB, 'bytes', 'A DER certificate or CSR from a peer.') as Limit,
  derDepthMax: limit(32, 'depth', 'Nesting of DER structures; X.509 needs fewer than 16.') as Limit,
  derOidBytesMax: limit(64, 'bytes', 'One object identifier; a UUID arc takes 19.') as Limit,
  pemCharsMax: limit(1 * MB, 'count', 'Characters of a PEM text: every CA and then some.') as Limit,
  pemBlocksMax: limit(32, 'count', 'Blocks in one PEM text.') as Limit,
  nameLengthMax: limit(128, 'count', 'Characters in a user, role or target name.') as Limit,
  certTtlMinMs: limit(SECOND, 'ms', 'Dates in certificates are whole seconds.') as Limit,
  targetNamesMax: limit(
    300,
    'count',
    'Names in one target certificate, so that the longest fit into certificateBytesMax.',
  ) as Limit,
  dbServerHostsMax: limit(
    64,
    'count',
    'Host names and addresses of one database server certificate.',
  ) as Limit,
  clusterLengthMax: limit(
    120,
    'count',
    'A cluster name: leaves room for ticket, target and kind in one DNS name.',
  ) as Limit,
  dnsNameLengthMax: limit(253, 'count', 'A whole DNS name, RFC 1035.') as Limit,
  trustCacheMax: limit(64, 'count', 'CA certificates and signing keys kept as read.') as Limit,
  signedCertificatesMax: limit(
    1000,
    'count',
    'Peers’ certificates kept as read once their signature was verified, a few KB each.',
  ) as Limit,
  notBeforeSkewMs: limit(
    MINUTE,
    'ms',
    'Certificates start this much in the past, for clocks that run behind.',
  ) as Limit,
  clockSkewWarnMs: limit(
    5 * SECOND,
    'ms',
    'A process whose clock differs more from control’s says so.',
  ) as Limit,
  clockSkewRefuseMs: limit(
    MINUTE,
    'ms',
    'A process whose clock differs more from control’s is refused.',
  ) as Limit,
  userCertTtlMs: limit(12 * HOUR, 'ms', 'Default life of a login certificate.') as Limit,
  userCertTtlMaxMs: limit(30 * HOUR, 'ms', 'Longest life of a login certificate.') as Limit,
  renewalRetryMs: limit(
    MINUTE,
    'ms',
    'Pause before a host certificate that could not be renewed is tried again.',
  ) as Limit,
  hostCertTtlMs: limit(7 * DAY, 'ms', 'Host certificates; renewed at a third.') as Limit,
  permitTtlMaxMs: limit(
    HOUR,
    'ms',
    'A permit: how long a proxy may bring one certificate to one target without asking again.',
  ) as Limit,
  sshPermitsKeptMax: limit(
    10_000,
    'count',
    'Permits for SSH a proxy keeps for the time that control is away; under 1 KB each, the oldest goes first.',
  ) as Limit,
  permitSamplesMax: limit(
    32,
    'count',
    'Database users, and names, that control tries when a proxy asks for a permit for whichever.',
  ) as Limit,
  permitBytesMax: limit(
    2 * KB,
    'bytes',
    'A permit: signature, fingerprint, ids, and the longest target name.',
  ) as Limit,
  dbClientCertTtlMs: limit(
    DAY,
    'ms',
    'Certificates agents show to databases; a day without control still works.',
  ) as Limit,
  labelCommandsMax: limit(
    64,
    'count',
    'Labels of a node that are what a command prints (ssh_service.commands).',
  ) as Limit,
  labelCommandWordsMax: limit(64, 'count', 'Words of one such command.') as Limit,
  labelCommandMs: limit(
    10 * SECOND,
    'ms',
    'What one such command may take before it is ended.',
  ) as Limit,
  labelCommandBytesMax: limit(4 * KB, 'bytes', 'What one of them may print.') as Limit,
  labelCommandPeriodMinMs: limit(
    SECOND,
    'ms',
    'Shortest period of one: each run is a process, and each new value is written at control.',
  ) as Limit,
  opensshCertTtlMs: limit(
    5 * MINUTE,
    'ms',
    'Certificates of proxies towards SSH servers without an agent: one login each.',
  ) as Limit,
  opensshHostCertTtlMaxMs: limit(
    366 * DAY,
    'ms',
    'Host certificates that administrators carry to an sshd by hand.',
  ) as Limit,
  sshPrincipalsMax: limit(
    256,
    'count',
    'Principals of one SSH certificate: all logins of a person, all names of an agent.',
  ) as Limit,
  caTtlMs: limit(10 * 365 * DAY, 'ms', 'Self-signed CA certificates.') as Limit,
  dbServerCertTtlMs: limit(
    90 * DAY,
    'ms',
    'Default life of a certificate from `tctl auth sign --format=db`.',
  ) as Limit,
  dbServerCertTtlMaxMs: limit(
    3 * 365 * DAY,
    'ms',
    'Longest life of a certificate from `tctl auth sign --format=db`.',
  ) as Limit,

  // Recordings
  recordingHeadBytesMax: limit(
    8 * KB,
    'bytes',
    'What a recording says of itself before its first chunk.',
  ) as Limit,
  recordingChunkBytesMax: limit(
    1 * MB,
    'bytes',
    'A chunk, compressed and not: what a reader of somebody’s recording decompresses at a time.',
  ) as Limit,
  recordingBatchBytesMax: limit(
    256 * KB,
    'bytes',
    'Events gathered into one chunk: what the disk, and an upload, take at a time.',
  ) as Limit,
  recordingBatchMs: limit(
    2 * SECOND,
    'ms',
    'How long events gather before they go to the disk; what a crash may lose.',
  ) as Limit,
  recordingPrintMs: limit(
    20,
    'ms',
    'What a terminal shows within it is one event of its recording; a replay is no finer.',
  ) as Limit,
  recordingPrintBytesMax: limit(64 * KB, 'bytes', 'What a terminal shows, in one event.') as Limit,
  recordingQueueBytesMax: limit(
    MB,
    'bytes',
    'Events of one session that the disk does not hold yet; the session waits beyond it.',
  ) as Limit,
  recordingThreadBytesMax: limit(
    32 * MB,
    'bytes',
    'The same of all sessions of one thread together.',
  ) as Limit,
  recordingStallMs: limit(
    5 * SECOND,
    'ms',
    'A disk that does nothing with a chunk for so long is broken, not slow: what record_session says applies.',
  ) as Limit,
  recordingRetryMs: limit(
    SECOND,
    'ms',
    'Before a chunk of a sync mode is offered to a full or broken disk again.',
  ) as Limit,
  recordingEndTriesMax: limit(
    600,
    'count',
    'How often the end of a recording is offered to a full or broken disk: ten minutes. Its process completes it when it starts again.',
  ) as Limit,
  recordingBytesMax: limit(
    4 * GB,
    'bytes',
    'The recording of one session, at its recorder and at control; beyond it the disk counts as full.',
  ) as Limit,
  recordingSpoolBytesMax: limit(
    16 * GB,
    'bytes',
    'Recordings that an agent or proxy keeps until control has them.',
  ) as Limit,
  recordingWritesMax: limit(
    2,
    'count',
    'Chunks written at the same time: statements of the audit log need the disk too.',
  ) as Limit,
  recordingTellMs: limit(
    5 * SECOND,
    'ms',
    'Before the audit log hears of new chunks by their hash.',
  ) as Limit,
  recordingUploadMs: limit(
    30 * SECOND,
    'ms',
    'Before control is offered what a recording of a session that runs has grown by.',
  ) as Limit,
  recordingUploadBytes: limit(
    MB,
    'bytes',
    'What such a recording has grown by when control is offered it at once.',
  ) as Limit,
  recordingHeldBytesMax: limit(
    4 * MB,
    'bytes',
    'Short recordings that stay in memory until control has them, beside their files: beyond it an upload reads the file.',
  ) as Limit,
  recordingUploadsMax: limit(
    4,
    'count',
    'Recordings that one agent or proxy uploads at the same time.',
  ) as Limit,
  recordingPieceBytesMax: limit(
    512 * KB,
    'bytes',
    'Whole chunks in one upload or one line of a download; in base64 they must fit apiBodyBytesMax.',
  ) as Limit,
  recordingFlatBytesMax: limit(
    256 * MB,
    'bytes',
    'The flat file of a terminal’s recording at control; it says where it was cut.',
  ) as Limit,
  recordingStoreBytesMax: limit(
    1024 * GB,
    'bytes',
    'Recordings that control keeps, flat files included, unless `recordings_size_max` says otherwise; beyond it none is taken.',
  ) as Limit,
  recordingSweepMax: limit(
    200,
    'count',
    'Recordings that control removes in one minute because they are older than `recordings_retention`.',
  ) as Limit,
  recordingAbandonedMs: limit(
    3 * DAY,
    'ms',
    'Before control ends a begun recording that nobody adds to and whose host is not heard of; a host that comes back later keeps its own aside.',
  ) as Limit,
  recordingsOpenMax: limit(
    10_000,
    'count',
    'Recordings of one agent or proxy that control took a part of and not the end.',
  ) as Limit,

  // Policy
  patternLengthMax: limit(1024, 'count', 'Characters of one pattern in a role.') as Limit,
  patternStepsMax: limit(
    1000,
    'count',
    'Instructions of a compiled expression; matching costs at most this much per character.',
  ) as Limit,
  patternDepthMax: limit(32, 'depth', 'Nested groups of an expression.') as Limit,
  matchSubjectMax: limit(
    512,
    'count',
    'Characters a pattern is tried on; a longer label value or name is matched by nothing.',
  ) as Limit,
  expressionLengthMax: limit(
    4 * KB,
    'count',
    'Characters of a label expression in a role.',
  ) as Limit,
  queryLengthMax: limit(
    2 * KB,
    'count',
    'Characters of a --query, which travels in a URL.',
  ) as Limit,
  expressionNodesMax: limit(
    500,
    'count',
    'Parts of one expression: texts, names, operators, calls.',
  ) as Limit,
  expressionDepthMax: limit(
    32,
    'depth',
    'Parentheses, calls, keys and "!" of an expression inside each other.',
  ) as Limit,
  expressionListMax: limit(
    1024,
    'count',
    'Entries of one list that an evaluation makes; past it the expression cannot be judged.',
  ) as Limit,
  expressionTextMax: limit(
    64 * KB,
    'count',
    'Characters of all texts one evaluation makes; past it the expression cannot be judged.',
  ) as Limit,
  expressionStepsMax: limit(
    2_000_000,
    'count',
    'Work of one evaluation, mostly characters times instructions of patterns; past it the expression cannot be judged.',
  ) as Limit,
  queryStepsMax: limit(
    50_000_000,
    'count',
    'The same work for a --query over all rows of a list: well under a second of control.',
  ) as Limit,
  explanationRolesMax: limit(
    100,
    'count',
    'Roles an explanation tells of; it must fit into one audit event.',
  ) as Limit,
  shownTextMax: limit(
    64,
    'count',
    'Characters of a name or pattern quoted in a refusal or explanation; a stranger chose some of them.',
  ) as Limit,

  // Signer
  signerFrameBytesMax: limit(
    90 * MB,
    'bytes',
    'One request line to the signer: a whole snapshot base in base64.',
  ) as Limit,
  signerAnswerBytesMax: limit(1 * MB, 'bytes', 'One answer line of the signer.') as Limit,
  signerPendingMax: limit(
    1024,
    'count',
    'Requests control has under way at the signer; more are refused, not queued.',
  ) as Limit,
  signerConnectionsMax: limit(
    4,
    'count',
    'Connections to the signer: control’s one, and room for a restart.',
  ) as Limit,
  signerDeadlineMs: limit(
    5 * SECOND,
    'ms',
    'From asking the signer to its answer; a restart of the signer fits in.',
  ) as Limit,
  signerRedialMs: limit(100, 'ms', 'Pause before the signer’s socket is tried again.') as Limit,
  passphraseBytesMin: limit(
    16,
    'bytes',
    'The passphrase that wraps the CA keys; a file, so nobody has to type it.',
  ) as Limit,
  passphraseBytesMax: limit(4 * KB, 'bytes', 'The passphrase file.') as Limit,
  scryptLog2Min: limit(
    10,
    'count',
    'Least cost of a key file, as log2 of N; tests use it.',
  ) as Limit,
  scryptLog2Max: limit(
    20,
    'count',
    'Highest cost a key file may ask for: 1 GB of memory at one start.',
  ) as Limit,
  keyFileBytesMax: limit(
    16 * KB,
    'bytes',
    'One key or CA certificate file of the signer.',
  ) as Limit,

  // Listener and multiplexer
  helloBytesMax: limit(16 * KB, 'bytes', 'One ClientHello; post-quantum ones are 1.6 KB.') as Limit,
  helloBytesTotalMax: limit(
    64 * MB,
    'bytes',
    'All unfinished hellos of a process; the oldest goes first.',
  ) as Limit,
  handshakeDeadlineMs: limit(
    10 * SECOND,
    'ms',
    'From accept to the end of the handshake; a peer may not park there.',
  ) as Limit,
  unfinishedPerSourceMax: limit(
    256,
    'count',
    'Unfinished connections per source address (IPv6: /64).',
  ) as Limit,
  unfinishedHandshakesPerWorkerMax: limit(
    256,
    'count',
    'TLS handshakes in flight in one worker thread.',
  ) as Limit,
  proxyHeaderBytesMax: limit(
    536,
    'bytes',
    'PROXY v1 line (107) or v2 header with ordinary TLVs.',
  ) as Limit,
  listenBacklogMax: limit(
    4096,
    'count',
    'Connections the kernel keeps until they are accepted; a burst of clients fits.',
  ) as Limit,
  answersPerConnectionMax: limit(
    2,
    'count',
    'One-byte answers before TLS: `N` to GSSENCRequest, then `S` to SSLRequest.',
  ) as Limit,
  clientKeepAliveMs: limit(
    3 * MINUTE,
    'ms',
    'TCP keep-alive of accepted connections; a peer that lost power is noticed.',
  ) as Limit,
  lockFarewellMs: limit(
    SECOND / 2,
    'ms',
    'A proxy leaves a locked session to its agent, which can say why, for this long; then it cuts it.',
  ) as Limit,
  farewellMs: limit(
    SECOND,
    'ms',
    'A last word (redirect, TLS alert) has this long to reach a peer that keeps its end open.',
  ) as Limit,
  strangerSummaryMs: limit(
    MINUTE,
    'ms',
    'Strangers are counted and summed up this often, never logged one by one.',
  ) as Limit,
  strangerSourcesMax: limit(
    1000,
    'count',
    'Sources named in one summary of strangers; the rest is one number.',
  ) as Limit,

  // Tunnels
  serverNameLengthMax: limit(
    253,
    'count',
    'Characters of `<ticket>.<target>.<kind>.<cluster>`: what DNS and TLS carry.',
  ) as Limit,
  ticketKeySettleMs: limit(
    5 * MINUTE,
    'ms',
    'A new ticket key is used after this; proxies fetch keys each minute.',
  ) as Limit,
  ticketDialsUnacceptedMax: limit(
    8,
    'count',
    'Dials per routing ticket that no agent has accepted yet.',
  ) as Limit,
  ticketWaitingMax: limit(
    512,
    'count',
    'More dials of one ticket that wait inside the handshake deadline.',
  ) as Limit,
  ticketRefusalsUnacceptedMax: limit(
    8,
    'count',
    'Refusals per routing ticket that are on their way to an agent; beyond it a caller gets a TLS alert.',
  ) as Limit,
  ticketDialsPerMinuteMax: limit(
    12_000,
    'per-minute',
    'Dials per routing ticket; pgbench -C stays below.',
  ) as Limit,
  ticketSweepMs: limit(
    MINUTE,
    'ms',
    'How often rate buckets of idle tickets are dropped.',
  ) as Limit,
  openFrameBytesMax: limit(
    4 * KB,
    'bytes',
    'An open frame: identifiers and one server name.',
  ) as Limit,
  forwardCertificateBytesMax: limit(
    16 * KB,
    'bytes',
    'A client certificate a proxy forwards: the largest identity and room for its names.',
  ) as Limit,
  acceptFrameBytesMax: limit(1 * KB, 'bytes', 'An accept or refuse frame.') as Limit,
  frameClockSkewMs: limit(30 * SECOND, 'ms', 'Age of a spare ticket or open frame.') as Limit,
  linkFrameBytesMax: limit(
    1 * MB,
    'bytes',
    'One frame on a link; snapshots travel in parts.',
  ) as Limit,
  linkSignedPartBytes: limit(
    256 * KB,
    'bytes',
    'Signed values travel in parts of this size, so that a lock never waits behind a snapshot.',
  ) as Limit,
  linkPingMs: limit(
    15 * SECOND,
    'ms',
    'Ping interval on a link; three missed ones end it.',
  ) as Limit,
  linkHeartbeatMs: limit(
    10 * SECOND,
    'ms',
    'How often an agent says over its links what it serves and believes.',
  ) as Limit,
  linkPingsMissedMax: limit(
    3,
    'count',
    'Pings without any answer after which a link is over.',
  ) as Limit,
  linkBufferedBytesMax: limit(
    64 * MB,
    'bytes',
    'Frames a peer of a link has not taken yet; beyond it the link ends.',
  ) as Limit,
  linkRedialBurstMax: limit(
    10,
    'count',
    'Dials of a link that may follow each other at the back-off alone.',
  ) as Limit,
  linkRedialEveryMs: limit(
    4 * SECOND,
    'ms',
    'How often another dial of a link is earned after the burst.',
  ) as Limit,
  linkStableMs: limit(
    30 * SECOND,
    'ms',
    'A link that stood this long starts the back-off afresh.',
  ) as Limit,
  sparesIdle: limit(2, 'count', 'Parked spares kept per agent when idle.') as Limit,
  sparesPerAgentMax: limit(64, 'count', 'Parked spares per agent.') as Limit,
  sparesTotalMax: limit(50_000, 'count', 'Parked spares per proxy process.') as Limit,
  spareAgeMaxMs: limit(
    5 * MINUTE,
    'ms',
    'A parked spare is replaced after this, with jitter.',
  ) as Limit,
  spareKeepAliveMs: limit(
    30 * SECOND,
    'ms',
    'TCP keep-alive of parked spares, for NAT and balancers.',
  ) as Limit,
  spareKeepAliveIntervalMs: limit(
    10 * SECOND,
    'ms',
    'Between keep-alive probes of a parked spare that did not answer.',
  ) as Limit,
  spareKeepAliveProbesMax: limit(
    3,
    'count',
    'Unanswered probes after which a parked spare is dead: one minute in all.',
  ) as Limit,
  spareWaitingMax: limit(
    4096,
    'count',
    'Sessions that wait for a spare of one agent; a good ticket must not fill the memory.',
  ) as Limit,
  spareAskedMs: limit(
    5 * SECOND,
    'ms',
    'Spares asked of an agent that did not come by then are asked for again.',
  ) as Limit,
  spareSweepMs: limit(
    5 * SECOND,
    'ms',
    'How often the age of parked spares is looked at.',
  ) as Limit,
  spareRateWindowMs: limit(
    10 * SECOND,
    'ms',
    'Time in which an old dial loses its weight in the pool’s idea of the rate.',
  ) as Limit,
  spareRefillMs: limit(
    500,
    'ms',
    'A pool holds the dials of this long: one round trip to the agent, with room.',
  ) as Limit,
  spareAcceptDeadlineMs: limit(
    2 * SECOND,
    'ms',
    'An opened spare that says nothing is given up and the hello repeated.',
  ) as Limit,
  spareTriesMax: limit(
    16,
    'count',
    'Spares one session tries; an agent that loses each at once must not be dialled without end.',
  ) as Limit,
  spareTicketsRememberedMax: limit(
    200_000,
    'count',
    'Used spare tickets remembered against replay; when full, spares are refused.',
  ) as Limit,
  sparePrefaceBytesMax: limit(256, 'bytes', 'The first bytes of a spare.') as Limit,
  redialMinMs: limit(
    200,
    'ms',
    'First delay before a lost link is dialled again (jittered).',
  ) as Limit,
  redialMaxMs: limit(8 * SECOND, 'ms', 'Longest delay between dials of a link.') as Limit,

  // Snapshots
  stalenessMaxMs: limit(
    5 * MINUTE,
    'ms',
    'Silence of beacons beyond which strict locking refuses.',
  ) as Limit,
  beaconIntervalMs: limit(SECOND, 'ms', 'How often control signs a beacon.') as Limit,
  snapshotGatherMs: limit(
    50,
    'ms',
    'Changes of roles, configuration and targets are gathered this long; locks are not.',
  ) as Limit,
  inventoryChangesMax: limit(
    200,
    'count',
    'Changes sent over one inventory base, then a new base.',
  ) as Limit,
  inventoryChangeTargetsMax: limit(
    100,
    'count',
    'Targets in one inventory change; beyond that a new base holds a receiver’s event loop for less.',
  ) as Limit,
  keptFileRetryMs: limit(
    SECOND,
    'ms',
    'Pause before trust that a full disk did not take is written again; it is in force meanwhile.',
  ) as Limit,
  snapshotBytesMax: limit(64 * MB, 'bytes', 'A snapshot base as received.') as Limit,

  // Sessions
  relayBufferBytes: limit(
    256 * KB,
    'bytes',
    'One pooled read buffer of a relay: a quarter of the syscalls of 64 KB.',
  ) as Limit,
  relayBuffersPooledMax: limit(64, 'count', 'Read buffers a worker keeps for reuse.') as Limit,
  relayBufferMiddleBytes: limit(
    16 * KB,
    'bytes',
    'Read buffer of a relay between single messages and bulk: one TLS record.',
  ) as Limit,
  relayBufferSmallBytes: limit(
    1 * KB,
    'bytes',
    'Read buffer of a quiet relay: an idle session keeps two of these.',
  ) as Limit,
  relayTurnBytes: limit(
    1 * MB,
    'bytes',
    'What a relay reads from one socket before the others have their turn: below a millisecond of the loop.',
  ) as Limit,
  controlDialMs: limit(5 * SECOND, 'ms', 'A proxy connecting to control for somebody.') as Limit,
  controlRelayIdleMs: limit(
    2 * MINUTE,
    'ms',
    'Silence on a relayed connection to control; watches have beacons each second.',
  ) as Limit,
  socketsCloseMs: limit(
    SECOND,
    'ms',
    'How long a stopping thread waits for its cut connections to be closed.',
  ) as Limit,
  lastFramesMs: limit(100, 'ms', 'How long a stopping thread lets its last frames leave.') as Limit,
  tlsContextsMax: limit(
    256,
    'count',
    'TLS client contexts a worker keeps, 20 KB each: one per target, user and certificate.',
  ) as Limit,
  agentTlsSessionsMax: limit(
    1000,
    'count',
    'TLS sessions with agents a proxy keeps to resume, 1.2 KB each: one per agent and target.',
  ) as Limit,
  unprovenSessionsPerWorkerMax: limit(
    256,
    'count',
    'Terminated sessions of a worker whose client has shown no good certificate, handshakes included; the oldest goes first.',
  ) as Limit,
  resumptionKeysMs: limit(HOUR, 'ms', 'Life of TLS session ticket keys.') as Limit,
  strangerEventsMax: limit(
    20,
    'count',
    'Sources of strangers that get an event of their own in a minute.',
  ) as Limit,
  inventoryIntervalMs: limit(
    MINUTE,
    'ms',
    'How often an agent announces its targets; also its heartbeat.',
  ) as Limit,
  proxyReportMs: limit(
    2 * SECOND,
    'ms',
    'How often a proxy tells control which agents and locks it holds.',
  ) as Limit,
  ticketKeysMs: limit(
    MINUTE,
    'ms',
    'How often a proxy asks control for routing ticket keys.',
  ) as Limit,
  sessionBufferedBytesMax: limit(
    1 * MB,
    'bytes',
    'Bytes a session holds for a side that does not read; then the other side is stopped.',
  ) as Limit,
  sessionLingerMs: limit(
    5 * SECOND,
    'ms',
    'How long the last bytes of an ended session may take to leave.',
  ) as Limit,
  halfClosedMsMax: limit(
    5 * MINUTE,
    'ms',
    'A session whose one end has closed; the other may still send that long.',
  ) as Limit,
  wallClockCheckMs: limit(
    10 * SECOND,
    'ms',
    'How often dated deadlines look at the wall clock, which may jump.',
  ) as Limit,
  targetDialDeadlineMs: limit(30 * SECOND, 'ms', 'From dialling a target to its login.') as Limit,
  trustCheckMs: limit(
    SECOND,
    'ms',
    'How often an agent looks whether beacons still come.',
  ) as Limit,
  trustLagMaxMs: limit(
    5 * SECOND,
    'ms',
    'Age of the newest beacon beyond which an agent tells control, and is shown as stale.',
  ) as Limit,
  presenceMaxMs: limit(
    150 * SECOND,
    'ms',
    'A member unheard for this long counts as offline; reports come each minute.',
  ) as Limit,
  claimsRefusedMax: limit(
    10_000,
    'count',
    'Target names whose refused claims are remembered for `tctl db ls`.',
  ) as Limit,
  leaseTtlMs: limit(2 * MINUTE, 'ms', 'A session lease; refreshed at half.') as Limit,
  healthIntervalMs: limit(
    30 * SECOND,
    'ms',
    'Between two health checks of a target, unless a health_check_config says otherwise.',
  ) as Limit,
  healthTimeoutMs: limit(
    5 * SECOND,
    'ms',
    'A target that does not take a connection in this time did not answer the check.',
  ) as Limit,
  healthRecheckMs: limit(
    5 * SECOND,
    'ms',
    'Between two health checks of a target that did not answer the last one.',
  ) as Limit,
  healthIntervalMinMs: limit(
    SECOND,
    'ms',
    'Shortest interval and timeout of a health check: each check is a connection to a database.',
  ) as Limit,
  healthIntervalMaxMs: limit(10 * MINUTE, 'ms', 'Longest interval of a health check.') as Limit,
  healthChecksAtOnceMax: limit(
    16,
    'count',
    'Connections that an agent’s health checks open at once; others wait their turn.',
  ) as Limit,
  unhealthyToldMax: limit(
    256,
    'count',
    'Unhealthy targets an agent names to proxies in a heartbeat; they prefer its neighbours for these.',
  ) as Limit,
  resourceSelectorsMax: limit(
    100,
    'count',
    'Label selectors of one agent for resources it would serve.',
  ) as Limit,
  targetsAskSpreadMs: limit(
    2 * SECOND,
    'ms',
    'Agents ask what they serve within this time after a change, not all at once.',
  ) as Limit,
  controlAskMs: limit(
    3 * SECOND,
    'ms',
    'A worker waits for control no longer where what it has will do: half the time a login may take is left.',
  ) as Limit,
  dbPasswordCharsMax: limit(
    1000,
    'count',
    'Characters of a stored database password: PostgreSQL’s own tools take no longer one.',
  ) as Limit,
  leasesPerMemberMax: limit(
    65_536,
    'count',
    'Session leases of one agent or proxy: as many as it has ports for sessions.',
  ) as Limit,
  healthReasonCharsMax: limit(
    500,
    'count',
    'Why a target did not answer, as an agent tells it; the rest is cut.',
  ) as Limit,
  dbClientCertsCachedMax: limit(
    10_000,
    'count',
    'Certificates towards databases an agent keeps; 2 KB each, the oldest goes first.',
  ) as Limit,

  // Worker threads
  workerYoungGenerationBytes: limit(
    64 * MB,
    'bytes',
    'Young generation of a worker: fewer collections under load.',
  ) as Limit,
  workerReadyMs: limit(30 * SECOND, 'ms', 'From starting a worker to its `ready`.') as Limit,
  workerStopMs: limit(5 * SECOND, 'ms', 'A stopping worker that takes longer is ended.') as Limit,
  workerRestartDelayMs: limit(
    SECOND,
    'ms',
    'Pause before a worker that died young is replaced; others are replaced at once.',
  ) as Limit,
  loopDelayReportMs: limit(
    SECOND,
    'ms',
    'How often a worker reports its event-loop delay.',
  ) as Limit,
  loopDelayShedMs: limit(
    50,
    'ms',
    'Event-loop delay beyond which a worker gets no new connections if another can take them.',
  ) as Limit,

  // Control
  apiBodyBytesMax: limit(1 * MB, 'bytes', 'A request body.') as Limit,
  apiDepthMax: limit(32, 'depth', 'Nesting of a JSON or YAML body.') as Limit,
  apiDeadlineMs: limit(30 * SECOND, 'ms', 'One API call that is not a watch.') as Limit,
  apiPageMax: limit(1000, 'count', 'Items in one page of a list.') as Limit,
  apiReplyBytesMax: limit(16 * MB, 'bytes', 'An answer a client takes.') as Limit,
  apiConnectionsMax: limit(
    20_000,
    'count',
    'Connections to the API at once: every agent, proxy and command line.',
  ) as Limit,
  apiAnonymousPerMinuteMax: limit(
    120,
    'per-minute',
    'Anonymous calls of one source; one connection gets a quarter of it.',
  ) as Limit,
  apiRefusalsAuditedPerMinuteMax: limit(
    10,
    'per-minute',
    'Audit events about refused certificates of one identity.',
  ) as Limit,
  apiRequestsPerConnectionMax: limit(
    10_000,
    'count',
    'Requests on one connection; then the client connects anew.',
  ) as Limit,
  apiRelayedFactor: limit(
    50,
    'count',
    'A proxy’s address stands for this many sources of anonymous calls.',
  ) as Limit,
  apiDrainMs: limit(
    5 * SECOND,
    'ms',
    'Calls under way may take this long when control stops.',
  ) as Limit,
  apiClientSocketsMax: limit(8, 'count', 'Connections one client opens to control.') as Limit,
  watchLineBytesMax: limit(
    96 * MB,
    'bytes',
    'One line of a watch: a snapshot base in base64.',
  ) as Limit,
  watchQueueBytesMax: limit(
    16 * MB,
    'bytes',
    'Bytes a watcher may lag behind, beside its first base; then it is cut and resumes.',
  ) as Limit,
  inviteTtlMs: limit(HOUR, 'ms', 'Default life of an invite link.') as Limit,
  inviteTtlMaxMs: limit(48 * HOUR, 'ms', 'Longest life of an invite link.') as Limit,
  tokenTtlMs: limit(30 * MINUTE, 'ms', 'Default life of a join token.') as Limit,
  passwordLengthMin: limit(12, 'count', 'Characters of a password.') as Limit,
  passwordLengthMax: limit(128, 'count', 'Characters of a password; bounds hashing.') as Limit,
  passwordJobsWaitingMax: limit(
    64,
    'count',
    'Logins waiting for a core to hash; a third of a second each.',
  ) as Limit,
  loginFailuresMax: limit(
    5,
    'count',
    'Failed logins of one account from one source before both wait.',
  ) as Limit,
  loginFailuresAccountMax: limit(
    100,
    'count',
    'Failed logins of one account from anywhere before it waits: guesses of whoever changes address.',
  ) as Limit,
  loginFailureWindowMs: limit(
    30 * MINUTE,
    'ms',
    'Window in which failed logins are counted, and how long the wait lasts.',
  ) as Limit,
  totpStepMs: limit(30 * SECOND, 'ms', 'RFC 6238 time step.') as Limit,

  // State store
  storeKeyBytesMax: limit(512, 'bytes', 'A key; its names are bounded themselves.') as Limit,
  storeValueBytesMax: limit(1 * MB, 'bytes', 'A value: what an API body can carry.') as Limit,
  storeBatchMax: limit(
    256,
    'count',
    'Operations of one all-or-nothing batch; bounds how long a transaction grows.',
  ) as Limit,
  storeGroupMax: limit(
    1000,
    'count',
    'Requests that share one transaction and one fsync.',
  ) as Limit,
  storePageBytesMax: limit(
    8 * MB,
    'bytes',
    'Values in one page of a range; the page ends early and says where to go on.',
  ) as Limit,
  storeQueueMax: limit(4096, 'count', 'Requests that wait for the store at once.') as Limit,
  storeQueueBytesMax: limit(
    64 * MB,
    'bytes',
    'Values in requests that wait for the store; the same in front of one slow watcher.',
  ) as Limit,
  storeWatchQueueMax: limit(
    8192,
    'count',
    'Events a watcher has not taken yet; beyond it is cut and resumes by its token.',
  ) as Limit,
  storeTombstonesMax: limit(
    100_000,
    'count',
    'Deletions remembered for watchers that resume; an older token means reading again.',
  ) as Limit,

  // Audit
  auditEventBytesMax: limit(
    64 * KB,
    'bytes',
    'One event; longer fields are trimmed and marked.',
  ) as Limit,
  auditDecisionBytesMax: limit(
    48 * KB,
    'bytes',
    'The explanation of a decision inside its event; a longer one is trimmed and read as text.',
  ) as Limit,
  auditFieldsMax: limit(
    128,
    'count',
    'Fields of one event; the rest is dropped and counted.',
  ) as Limit,
  auditPendingBytesMax: limit(
    16 * MB,
    'bytes',
    'Events that wait for the disk; a caller beyond is told at once.',
  ) as Limit,
  auditGroupBytesMax: limit(
    4 * MB,
    'bytes',
    'Events that share one write and one fdatasync.',
  ) as Limit,
  pairGraceMs: limit(
    5 * MINUTE,
    'ms',
    'What the second host of a session has to tell of it: spools that lag more than a minute belong to hosts that were away.',
  ) as Limit,
  pairKeepMs: limit(
    DAY,
    'ms',
    'Longest wait for a host that is away, or for the proof that a terminated session reached its agent.',
  ) as Limit,
  pairsWaitingMax: limit(
    20_000,
    'count',
    'Sessions that wait for their other side, under 1 KB each; usually seconds. Beyond that they are counted, not compared.',
  ) as Limit,
  pairRecallBytesMax: limit(
    16 * MB,
    'bytes',
    'The end of the log that control reads when it starts, for sessions of which one side had told.',
  ) as Limit,
  auditScanBytesMax: limit(
    128 * MB,
    'bytes',
    'Log read by one query; a page may come back short, with its cursor.',
  ) as Limit,
  auditSegmentBytesMax: limit(
    4 * MB,
    'bytes',
    'One file of a spool; files that control acknowledged wholly are deleted.',
  ) as Limit,
  auditSpoolBytesMax: limit(
    256 * MB,
    'bytes',
    'Events an agent or proxy keeps on disk while control is away.',
  ) as Limit,
  auditTailBytesMax: limit(
    4 * MB,
    'bytes',
    'The end of a spool that is kept in memory too, so that an upload need not read it.',
  ) as Limit,
  auditBatchMax: limit(
    1000,
    'count',
    'Events in one upload: a request costs as much as a hundred of them, and as many statements fill apiBodyBytesMax.',
  ) as Limit,
  auditGatherMs: limit(
    250,
    'ms',
    'Events of agents and proxies are gathered this long before an upload; they are on disk already.',
  ) as Limit,
  auditQueueBytesMax: limit(
    1 * MB,
    'bytes',
    'Statements of one thread that the disk does not hold yet; its sessions wait beyond it. All threads together stay below auditPendingBytesMax.',
  ) as Limit,
  auditQueueMs: limit(
    100,
    'ms',
    'Statements gather this long in their thread; a crash of it loses no more.',
  ) as Limit,
  auditQueueBatchBytesMax: limit(
    256 * KB,
    'bytes',
    'Statements that go to the spool at once, without waiting: each batch is a message, a write and a sync.',
  ) as Limit,
  auditStallMs: limit(
    5 * SECOND,
    'ms',
    'A full queue whose disk does nothing for so long is broken, not slow: what record_session says applies.',
  ) as Limit,
  auditRetryMs: limit(
    SECOND,
    'ms',
    'Before events of a sync mode are offered to a full or broken spool again.',
  ) as Limit,
  auditCheckpointEvery: limit(1000, 'count', 'Records between signed checkpoints.') as Limit,
  auditCheckpointGapMs: limit(
    SECOND,
    'ms',
    'Between checkpoints that are signed for the number of records: a beacon carries one each second, and each is a signature and three syncs.',
  ) as Limit,
  auditCheckpointMs: limit(MINUTE, 'ms', 'Time between signed checkpoints.') as Limit,

  // PostgreSQL
  pgStartupBytesMax: limit(10_000, 'bytes', 'MAX_STARTUP_PACKET_LENGTH of the server.') as Limit,
  pgMessageBytesMax: limit(
    0x3fffffff,
    'bytes',
    'A message the server would refuse is refused here first.',
  ) as Limit,
  pgNameBytesMax: limit(
    63,
    'bytes',
    'User and database names; the server cuts longer ones, and would then see another name than policy did.',
  ) as Limit,
  pgCancelKeyBytesMax: limit(
    256,
    'bytes',
    'Secret key of a CancelRequest in protocol 3.2; 3.0 has 4.',
  ) as Limit,
  pgLoginBytesMax: limit(
    64 * KB,
    'bytes',
    'What a target may say before it has let us in; held until the client may see it.',
  ) as Limit,
  pgPendingMax: limit(
    4096,
    'count',
    'Messages of a client without an answer. Their answers alone are over 8 KB, so that the server has flushed by then and none waits for the other.',
  ) as Limit,
  pgPendingBytesMax: limit(
    512 * KB,
    'bytes',
    'Text and parameters kept of them; beyond it pgShortBytesMax of each, marked.',
  ) as Limit,
  pgStatementBytesMax: limit(
    16 * KB,
    'bytes',
    'Text kept of one statement; a longer one is cut and marked.',
  ) as Limit,
  pgShortBytesMax: limit(
    512,
    'bytes',
    'Text or parameters kept of a statement that comes beyond pgPendingBytesMax.',
  ) as Limit,
  pgParametersMax: limit(
    100,
    'count',
    'Parameters of a statement that are told; the rest are counted.',
  ) as Limit,
  pgParametersBytesMax: limit(
    4 * KB,
    'bytes',
    'What is told of all parameters of a statement.',
  ) as Limit,
  pgPreparedMax: limit(
    4096,
    'count',
    'Prepared statements of a session whose text is known; the oldest goes first.',
  ) as Limit,
  pgPreparedBytesMax: limit(
    1 * MB,
    'bytes',
    'Their texts; each was told when it was prepared.',
  ) as Limit,
  pgPortalsMax: limit(
    256,
    'count',
    'Portals of a session that are known; the oldest goes first.',
  ) as Limit,
  pgCommandsMax: limit(64, 'count', 'Command tags told of one multi-statement query.') as Limit,
  pgRedactDepthMax: limit(
    4,
    'depth',
    'SQL inside dollar quotes that is looked through for secrets; deeper bodies are left out whole.',
  ) as Limit,
  // Messages for live sessions (cancel requests)
  signalKeyBytesMax: limit(
    260,
    'bytes',
    'Handle and secret of a signal: four bytes and the longest key PostgreSQL allows.',
  ) as Limit,
  signalWrongPerSourceMax: limit(
    10,
    'per-minute',
    'Signals of one source that hit no session; beyond, it is not heard for a minute. Keys of four bytes are out of reach then.',
  ) as Limit,
  signalWrongPerAgentMax: limit(
    60,
    'per-minute',
    'The same for what one agent brings, who speaks for many sources and has counted each of them.',
  ) as Limit,
  signalWrongPerSlotMax: limit(
    3,
    'per-minute',
    'Wrong keys for one session; beyond, it is deaf for a minute, whoever guesses from wherever.',
  ) as Limit,
  signalNamesMax: limit(
    4096,
    'count',
    'Sources, and sessions, whose wrong signals are remembered; the longest forgotten goes first.',
  ) as Limit,
  signalsWaitingMax: limit(
    1024,
    'count',
    'Signals that wait, over all sources, for the answer to others of their source; they hold no connection.',
  ) as Limit,
  signalBroadcastsMax: limit(
    300,
    'per-minute',
    'Signals for handles of other proxies: each is put to every linked agent.',
  ) as Limit,
  signalSweepMs: limit(
    MINUTE,
    'ms',
    'Between looks at whose wrong signals are a minute old.',
  ) as Limit,
  signalDeadlineMs: limit(
    5 * SECOND,
    'ms',
    'For the answer whose session a signal is, and for a target to take its own.',
  ) as Limit,
  signalEventsMax: limit(
    10,
    'per-minute',
    'Audit events of one session about signals; what comes between is counted in the next.',
  ) as Limit,
  pgSaslMechanismsMax: limit(
    16,
    'count',
    'Mechanisms a server may offer for one login; PostgreSQL has three.',
  ) as Limit,
  scramTextMax: limit(
    1 * KB,
    'count',
    'Characters of a server’s SCRAM message: nonce, salt and count take under 200.',
  ) as Limit,
  scramIterationsMin: limit(
    4096,
    'count',
    'RFC 7677: with fewer, whoever plays the server learns the password by guessing.',
  ) as Limit,
  scramIterationsMax: limit(
    100_000,
    'count',
    'Computed in a worker’s event loop, 13 ms for this many; PostgreSQL takes 4,096 unless told otherwise.',
  ) as Limit,
  pgErrorTextMax: limit(
    1 * KB,
    'count',
    'Characters of one field of an ErrorResponse of ours; reasons may quote what a stranger sent.',
  ) as Limit,

  // SSH
  sshLoginMs: limit(
    MINUTE,
    'ms',
    'From the first byte to the end of authentication; a key on a token waits for a finger.',
  ) as Limit,
  sshLoginBytesMax: limit(
    256 * KB,
    'bytes',
    'What a peer may send before it is authenticated: two key exchanges and every attempt, and then some.',
  ) as Limit,
  sshLoginAttemptsMax: limit(
    12,
    'count',
    'Authentication requests of a connection, questions whether a key would do included.',
  ) as Limit,
  sshBannerCharsMax: limit(
    4 * KB,
    'count',
    'Characters of a target’s banner that are kept.',
  ) as Limit,
  sshWayInLineBytesMax: limit(
    2 * KB,
    'bytes',
    'The line that names a node, and the line that answers it.',
  ) as Limit,
  sshChannelsMax: limit(
    256,
    'count',
    'Channels of a connection at once: a browser behind `ssh -D` opens a hundred.',
  ) as Limit,
  sshWindowStartBytes: limit(
    256 * KB,
    'bytes',
    'Window of a new channel; it doubles while its reader has to wait, and eases while not.',
  ) as Limit,
  sshWindowBytesMax: limit(
    16 * MB,
    'bytes',
    'Window of one channel: throughput is window per round trip, 160 MB/s at 100 ms.',
  ) as Limit,
  sshUnreadBytesMax: limit(
    64 * MB,
    'bytes',
    'Windows of all channels of a connection, so also what may lie unread.',
  ) as Limit,
  sshPacketBytesMax: limit(32 * KB, 'bytes', 'Data of one packet, RFC 4253 section 6.1.') as Limit,
  sshUnsentBytesMax: limit(
    256 * KB,
    'bytes',
    'Sealed bytes that wait for the network; beyond it channels wait.',
  ) as Limit,
  sshRepliesBytesMax: limit(
    512 * KB,
    'bytes',
    'Unsent bytes, answers included; beyond it a peer is not read, since it does not read either.',
  ) as Limit,
  sshRekeyBytes: limit(
    1024 * MB,
    'bytes',
    'Bytes both ways under one key, RFC 4253 section 9.',
  ) as Limit,
  sshRekeyMs: limit(60 * MINUTE, 'ms', 'Age of a key, RFC 4253 section 9.') as Limit,
  sshExchangeMs: limit(
    MINUTE,
    'ms',
    'A key exchange that takes longer ends the connection: what waits for it is held.',
  ) as Limit,
  sshHeldPacketsMax: limit(
    1024,
    'count',
    'Packets that wait for the end of a key exchange: answers to what the peer sent before it.',
  ) as Limit,
  sshRequestsMax: limit(
    1024,
    'count',
    'Requests of a channel, or of a connection, that wait for their answer.',
  ) as Limit,
  sshKeepaliveMs: limit(
    15 * SECOND,
    'ms',
    'Between questions whether the peer is there; three without an answer end the connection.',
  ) as Limit,
  sshRefusalsMax: limit(
    256,
    'count',
    'Channels and requests that one connection may be refused, each in the audit log; then it ends.',
  ) as Limit,
  sshSentenceCharsMax: limit(
    KB,
    'count',
    'What a person is told of a refusal; a lock’s message and names of targets fit.',
  ) as Limit,
  sshNodesListedMax: limit(
    1000,
    'count',
    'Nodes that a proxy lists to somebody who came without naming one; `tsh ls` searches the rest.',
  ) as Limit,
  nodesPageMax: limit(
    500,
    'count',
    'Targets a proxy’s main thread reads in one go, and hands a worker at once: a few milliseconds.',
  ) as Limit,
  sshForwardsMax: limit(
    64,
    'count',
    'Listeners of one connection on the machine (`ssh -R`).',
  ) as Limit,
  sshVariablesMax: limit(64, 'count', 'Variables that a client sets for one program.') as Limit,
  sshVariableBytesMax: limit(4 * KB, 'bytes', 'The value of one of them.') as Limit,
  sshModesBytesMax: limit(
    KB,
    'bytes',
    'Encoded modes of a terminal; all that RFC 8160 and OpenSSH know take 300.',
  ) as Limit,
  sshCommandToldBytesMax: limit(
    8 * KB,
    'bytes',
    'Of a command, what the audit log is told; the event says what is missing.',
  ) as Limit,
  sshAsideBytesMax: limit(
    256 * KB,
    'bytes',
    'Of one stream of a target’s channel, what waits while only the other one is read.',
  ) as Limit,
  sftpMessageBytesMax: limit(
    256 * KB,
    'bytes',
    'One message of SFTP, which is what OpenSSH takes; data are not kept.',
  ) as Limit,
  sftpHeadBytesMax: limit(
    16 * KB,
    'bytes',
    'Of one message, what is kept to be understood: two paths and attributes.',
  ) as Limit,
  sftpPathBytesMax: limit(4 * KB, 'bytes', 'A path in SFTP: PATH_MAX of Linux.') as Limit,
  sftpHandleBytesMax: limit(256, 'bytes', 'A handle of SFTP, section 3 of its draft.') as Limit,
  sftpHandlesMax: limit(
    1024,
    'count',
    'Files and folders that one SFTP session has open.',
  ) as Limit,
  sftpPendingMax: limit(
    4096,
    'count',
    'Requests of one SFTP session without an answer; OpenSSH sends 64, others a thousand.',
  ) as Limit,
  sftpKeptBytesMax: limit(
    MB,
    'bytes',
    'Paths and handles of all of these of one session.',
  ) as Limit,
  sshLingerMs: limit(
    5 * SECOND,
    'ms',
    'What a peer has for closing its side after ours was ended.',
  ) as Limit,

  // The launcher: programs, terminals and helpers of logins
  launchRequestBytesMax: limit(
    256 * KB,
    'bytes',
    'A request to the launcher: certificate, command and environment, in JSON.',
  ) as Limit,
  launchOrderBytesMax: limit(
    4 * KB,
    'bytes',
    'An order about a program that runs: a signal, a size.',
  ) as Limit,
  launchRequestMs: limit(
    10 * SECOND,
    'ms',
    'From a connection to its whole request, and from the answer to its streams.',
  ) as Limit,
  launchConnectionsMax: limit(
    8192,
    'count',
    'Connections of an agent to the launcher at once, a few for each session.',
  ) as Limit,
  launchProgramsMax: limit(
    2048,
    'count',
    'Programs the launcher has running for all logins.',
  ) as Limit,
  launchLoginProgramsMax: limit(
    512,
    'count',
    'Programs the launcher has running for one login.',
  ) as Limit,
  launchCommandBytesMax: limit(
    64 * KB,
    'bytes',
    'A command line; the kernel takes 128 KB for one argument.',
  ) as Limit,
  launchEnvironmentMax: limit(64, 'count', 'Variables a client sets for a program.') as Limit,
  launchEnvironmentCharsMax: limit(
    4096,
    'count',
    'Characters of the value of such a variable.',
  ) as Limit,
  launchLabelsMax: limit(256, 'count', 'Labels of the node a request names.') as Limit,
  launchAccountMs: limit(
    10 * SECOND,
    'ms',
    'What the machine has for saying who a login is; directories on a network are slow.',
  ) as Limit,
  accountFileBytesMax: limit(
    1 * MB,
    'bytes',
    'A longer passwd or shadow is left to getent; 10,000 accounts.',
  ) as Limit,
  launchAccountBytesMax: limit(64 * KB, 'bytes', 'What getent says of one login.') as Limit,
  launchLingerMs: limit(
    10 * SECOND,
    'ms',
    'Silence after which a session ends whose program ended while others still hold its output.',
  ) as Limit,
  launchSignalRetryMs: limit(
    100,
    'ms',
    'Pause before a signal is sent again that a program could not be sent, since it was root for another moment.',
  ) as Limit,
  launchSignalTriesMax: limit(
    50,
    'count',
    'Then it has become somebody whom its login may not signal, such as root by sudo.',
  ) as Limit,
  launchModesBytesMax: limit(
    1 * KB,
    'bytes',
    'Terminal modes of a request, five bytes each; 60 are defined.',
  ) as Limit,
  utmpBytesMax: limit(
    1 * MB,
    'bytes',
    'The machine’s list of terminals in use (utmp), read for each that begins; 2700 records.',
  ) as Limit,
  terminalsMax: limit(
    2048,
    'count',
    'Terminals of one machine; the kernel has 4096 (kernel.pty.max).',
  ) as Limit,
  terminalGatherMs: limit(
    1,
    'ms',
    'How long a full page of a terminal waits for the next: a packet for several costs half the CPU.',
  ) as Limit,
  terminalGatherBytes: limit(
    32 * KB,
    'bytes',
    'Output of a terminal that is passed on in one piece: a packet of SSH.',
  ) as Limit,
  terminalDrainMs: limit(
    100,
    'ms',
    'Silence of a terminal whose program ended, after which it is hung up.',
  ) as Limit,
  terminalDrainBytesMax: limit(
    256 * KB,
    'bytes',
    'Output taken of a terminal after its program ended: what was there and some more.',
  ) as Limit,
  helperStartMs: limit(
    20 * SECOND,
    'ms',
    'From starting the helper of a login until it listens; a busy machine needs two.',
  ) as Limit,
  helperStopMs: limit(
    5 * SECOND,
    'ms',
    'A helper without users that does not end by itself in this time is killed.',
  ) as Limit,
  helperUsersMax: limit(512, 'count', 'SSH connections that use the helper of one login.') as Limit,
  helperSocketsMax: limit(
    2048,
    'count',
    'Connections, listeners and streams of one login together.',
  ) as Limit,
  helperWaitingMax: limit(
    128,
    'count',
    'Connections to one listener that the agent has not taken yet.',
  ) as Limit,
  helperTakeMs: limit(10 * SECOND, 'ms', 'What the agent has for taking a connection.') as Limit,
  helperConnectMs: limit(
    30 * SECOND,
    'ms',
    'A connection made for a login that is not there by then has failed.',
  ) as Limit,
  helperMessageBytesMax: limit(
    8 * KB,
    'bytes',
    'A message between the agent and the process that opens things for it.',
  ) as Limit,
  displayOffset: limit(10, 'count', 'First number of a display, as sshd counts.') as Limit,
  displaysMax: limit(1000, 'count', 'Displays of one machine.') as Limit,

  // A throw-away PostgreSQL (quickstart and tests)
  localPostgresStartMs: limit(
    MINUTE,
    'ms',
    'From initdb to "ready"; a busy machine needs five seconds.',
  ) as Limit,
  localPostgresStopMs: limit(
    10 * SECOND,
    'ms',
    'A fast shutdown that takes longer is killed.',
  ) as Limit,
  localPostgresLogBytesMax: limit(
    256 * KB,
    'bytes',
    'The end of its log that is kept to explain a failure.',
  ) as Limit,

  // Command line
  localProxyConnectionsMax: limit(
    1000,
    'count',
    'Clients of one `tsh proxy db` at once: the pool of a busy application, with room.',
  ) as Limit,
  clientMessageBytesMax: limit(
    16 * MB,
    'bytes',
    'One message `tsh db exec` takes from a database: a row with a large value.',
  ) as Limit,
  modeAskedMs: limit(
    3 * SECOND,
    'ms',
    'What `tsh` waits for control to say whether an earlier `tsh db login` is of the mode in force.',
  ) as Limit,
  clientRowsMax: limit(
    100_000,
    'count',
    'Rows of one result of `tsh db exec`, which holds them all; psql is for more.',
  ) as Limit,
  sshAgentReplyBytesMax: limit(
    256 * KB,
    'bytes',
    'An answer of the person’s ssh-agent: what OpenSSH takes too.',
  ) as Limit,
  sshAgentMs: limit(
    MINUTE,
    'ms',
    'What the person’s ssh-agent has for an answer: it may ask the person first.',
  ) as Limit,
  sshAgentQuickMs: limit(
    5 * SECOND,
    'ms',
    'What the ssh-agent has for an answer nobody need be asked for: a login must not hang on one that is stopped.',
  ) as Limit,
  sshHostsAtOnceMax: limit(
    16,
    'count',
    'Nodes on which `tsh ssh` runs a command at once, when labels name several.',
  ) as Limit,
  sshPrefixedLineBytesMax: limit(
    16 * KB,
    'bytes',
    'A line of one of several nodes; a longer one is printed in pieces.',
  ) as Limit,
  sftpPacketBytesMax: limit(
    256 * KB,
    'bytes',
    'One message of an SFTP server: what OpenSSH’s client takes too.',
  ) as Limit,
  sftpRequestsMax: limit(
    64,
    'count',
    'SFTP requests of `tsh scp` that wait for their answers: 2 MB on the way, 20 MB/s at 100 ms.',
  ) as Limit,
  sftpPieceBytes: limit(
    32 * KB,
    'bytes',
    'Data of one SFTP read or write: what every server takes, draft-ietf-secsh-filexfer-02 section 3.',
  ) as Limit,
  sftpNamesMax: limit(
    100_000,
    'count',
    'Entries of one folder on a node that `tsh scp` copies.',
  ) as Limit,
  sftpDepthMax: limit(
    64,
    'count',
    'Folders in folders that `tsh scp -r` follows: a folder that contains itself ends somewhere.',
  ) as Limit,
  answerBytesMax: limit(
    4 * KB,
    'bytes',
    'A line of standard input that answers a question.',
  ) as Limit,
} as const

export type LimitName = keyof typeof LIMITS

/** The number behind a limit's name. */
export function max(name: LimitName): number {
  return LIMITS[name].value
}
