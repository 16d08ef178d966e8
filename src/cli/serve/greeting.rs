//! What a person reads who has started a server.

use std::path::Path;

use crate::http::server::Address;

/// What a person reads who has started a server.
pub struct Greeting<'a> {
    /// The directory.
    pub root: &'a Path,
    /// How it is written to.
    pub strategy: &'a str,
    /// Whether there is no configuration: then there may be no experience either.
    pub is_new: bool,
}

impl Greeting<'_> {
    /// The text, for a server at `address`.
    pub fn text(&self, address: &Address, is_tls: bool) -> String {
        let Self { root, strategy, is_new } = self;
        let url = match address {
            Address::Tcp(address) => format!("{}://{address}", if is_tls { "https" } else { "http" }),
            Address::Unix(_) => address.to_string(),
        };
        let mut text = format!("serving {} with {strategy} on {url}\n", root.display());
        if let (true, Address::Tcp(address)) = (is_new, address) {
            let port = address.rsplit_once(':').map_or("", |(_, port)| port);
            let host = if address.starts_with("[::]") || address.starts_with("0.0.0.0") {
                format!("localhost:{port}")
            } else {
                address.clone()
            };
            text += &format!(
                "push an image:\n  skopeo copy --dest-tls-verify=false docker://alpine docker://{host}/alpine\n  \
                 docker tag alpine {host}/alpine && docker push {host}/alpine\n"
            );
        }
        text
    }
}
