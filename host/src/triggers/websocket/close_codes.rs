//! The codes with which WebSockets close: those of RFC 6455 (7.4.1), and those of SocketCluster
//! from 4000 on.

pub(super) const NORMAL: u16 = 1000;

/// The host stops, or no longer has the module of the socket.
pub(super) const GOING_AWAY: u16 = 1001;

/// What the client has sent breaks the protocol.
pub(super) const PROTOCOL: u16 = 1002;

/// A Close frame without a code. It is never sent.
pub(super) const NO_CODE: u16 = 1005;

/// A connection that ended without a Close frame. It is never sent.
pub(super) const ABNORMAL: u16 = 1006;

/// A text that is not UTF-8.
pub(super) const NOT_UTF8: u16 = 1007;

/// The rest of a message has not arrived in time.
pub(super) const LATE: u16 = 1008;

pub(super) const TOO_LARGE: u16 = 1009;

/// The client reads too slowly, or the host has no memory for its message: it may try again later.
pub(super) const TRY_LATER: u16 = 1013;

/// The client answers no pings.
pub(super) const NO_PONG: u16 = 4001;

/// No handshake has arrived in time.
pub(super) const NO_HANDSHAKE: u16 = 4005;

/// The hook `connect` refuses the client.
pub(super) const REFUSED: u16 = 4008;

/// A message before the handshake.
pub(super) const BEFORE_HANDSHAKE: u16 = 4009;
