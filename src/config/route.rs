//! `routes` of `[listener.NAME]`: where a session goes by the server name and the protocols that
//! its ClientHello asks for. Routes none.

/// One rule. It holds for a ClientHello that asks for one of its names, if it has any, and offers
/// one of its protocols, if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In lower case, without a trailing dot; `*.` at the front stands for one label or more.
    pub server_names: Vec<String>,
    /// Of 1 to 255 bytes each. Not empty if there are no names.
    pub alpn: Vec<String>,
    pub target: RouteTarget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    Relay {
        /// The name of a pool of the same `Config`.
        pool: String,
        /// The name of a `Tls` of the same `Config`: where the route says nothing, the
        /// listener's. None: TLS passes through.
        tls: Option<String>,
    },
    Reject,
}

/// What becomes of a client that begins with anything but a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainText {
    Reject,
    /// It goes to the pool of the listener as it is.
    Pass,
}
