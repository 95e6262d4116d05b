//! Who says of others who they are, and backends that ask and are asked.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Identity;

/// An authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has random numbers");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are good"))
    }

    /// A certificate for these names; with a colon in it, one is a URI.
    pub fn identity(&self, names: &[&str]) -> Identity {
        self.sign(names, |_| {})
    }

    /// One whose time is over.
    pub fn expired(&self, names: &[&str]) -> Identity {
        self.sign(names, |params| params.not_after = date_time_ymd(2001, 1, 1))
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let text = |name: &&str| (*name).try_into().expect("names in certificates are ASCII");
        let name =
            |name: &&str| if name.contains(':') { SanType::URI(text(name)) } else { SanType::DnsName(text(name)) };
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(name).collect();
        change(&mut params);
        let key = KeyPair::generate().expect("the system has random numbers");
        let certificate = params.signed_by(&key, &self.0).expect("the parameters are good");
        Identity { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    /// The document of authorities.
    pub fn document(&self, name: &str) -> String {
        let block: String = self.0.pem().lines().map(|line| format!("\n    {line}")).collect();
        format!("authorities:\n  name: {name}\n  certificates: |{block}\n")
    }

    /// The manifest of a ConfigMap with it.
    pub fn config_map(&self, name: &str) -> String {
        let block: String = self.0.pem().lines().map(|line| format!("\n    {line}")).collect();
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  ca.crt: |{block}\n")
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("it is an authority's");
        roots
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// How a backend shakes hands.
#[derive(Clone)]
pub struct Guard(ServerConfig);

/// What a client said in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaken {
    /// Whom it asked for.
    pub name: Option<String>,
    pub is_resumed: bool,
    client: Option<CertificateDer<'static>>,
}

impl Shaken {
    /// Whether the client said that it is this one.
    pub fn is_from(&self, identity: &Identity) -> bool {
        self.client.as_ref() == Some(&identity.der)
    }

    pub fn is_from_nobody(&self) -> bool {
        self.client.is_none()
    }
}

impl Guard {
    /// One that is this, whoever asks.
    pub fn new(identity: &Identity) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows all versions")
            .with_no_client_auth()
            .with_cert_resolver(resolver(identity));
        Self(config)
    }

    /// One that lets in whom this authority knows.
    pub fn asking(identity: &Identity, authority: &Authority) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots().into(), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows all versions")
            .with_client_cert_verifier(verifier.build().expect("there is a root"))
            .with_cert_resolver(resolver(identity));
        Self(config)
    }

    pub(crate) fn offering(mut self, protocol: &str) -> Self {
        self.0.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        self
    }

    pub(crate) async fn shake(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Shaken)> {
        let stream = TlsAcceptor::from(Arc::new(self.0.clone())).accept(stream).await?;
        let session = stream.get_ref().1;
        let shaken = Shaken {
            name: session.server_name().map(str::to_owned),
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            client: session.peer_certificates().and_then(<[_]>::first).map(|one| one.clone().into_owned()),
        };
        Ok((stream, shaken))
    }
}

fn resolver(identity: &Identity) -> Arc<dyn ResolvesServerCert> {
    Arc::new(SingleCertAndKey::from(identity.pair()))
}
