//! TLS as clients speak it: certificates made for a test, and handshakes that tell what was agreed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wire::Wire;
use crate::{Client, H2Client, soon};

/// A certificate with its key.
pub struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Identity {
    /// A self-signed one for these names, which a gateway has no use for.
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("these are names");
        Self { chain: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
    }

    /// The document of a certificate.
    pub fn document(&self, name: &str) -> String {
        Self::document_of(name, &self.chain, &self.key)
    }

    /// The document of a certificate with another one's key.
    pub fn document_with_key_of(&self, name: &str, other: &Self) -> String {
        Self::document_of(name, &self.chain, &other.key)
    }

    fn document_of(name: &str, chain: &str, key: &str) -> String {
        let block = |text: &str| text.lines().map(|line| format!("\n    {line}")).collect::<String>();
        format!("certificate:\n  name: {name}\n  chain: |{}\n  key: |{}\n", block(chain), block(key))
    }

    /// The manifest of a Secret of type `kubernetes.io/tls`.
    pub fn secret(&self, name: &str) -> String {
        let block = |text: &str| text.lines().map(|line| format!("\n    {line}")).collect::<String>();
        let Self { chain, key, der: _ } = self;
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |{}\n  tls.key: |{}\n",
            block(chain),
            block(key)
        )
    }

    /// What signs handshakes.
    pub(crate) fn pair(&self) -> CertifiedKey {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it was just written");
        let key = ring::sign::any_supported_type(&key).expect("it is of a kind that rustls knows");
        CertifiedKey::new(vec![self.der.clone()], key)
    }

    /// A line of the key, which nobody but the gateway should see.
    pub fn line_of_key(&self) -> &str {
        self.key.lines().nth(1).expect("a key has more than its first line")
    }
}

/// Shakes hands with gateways. It remembers sessions, and accepts any certificate whose key signs the
/// handshake: whose certificate it is, tests look at.
#[derive(Clone)]
pub struct Dialer(ClientConfig);

/// What a handshake came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    certificate: CertificateDer<'static>,
    pub protocol: Option<String>,
    pub version: Option<ProtocolVersion>,
    pub is_resumed: bool,
}

impl Agreed {
    pub fn is_with(&self, identity: &Identity) -> bool {
        self.certificate == identity.der
    }

    /// Whether the certificate's key is one of RSA, by the identifier of such keys.
    pub fn is_with_rsa(&self) -> bool {
        const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        self.certificate.windows(RSA_ENCRYPTION.len()).any(|window| window == RSA_ENCRYPTION)
    }
}

impl Dialer {
    /// Speaks HTTP/1.1.
    pub fn http1() -> Self {
        Self::with(Anybody::default(), rustls::DEFAULT_VERSIONS).offering(&["http/1.1"])
    }

    /// Says who it is to gateways that ask.
    pub fn as_who(mut self, identity: &Identity) -> Self {
        self.0.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity.pair()));
        self
    }

    /// Speaks HTTP/2.
    pub fn http2() -> Self {
        Self::http1().offering(&["h2"])
    }

    /// Checks signatures of RSA alone.
    pub fn of_rsa(versions: &[&'static SupportedProtocolVersion]) -> Self {
        let schemes = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
        Self::with(Anybody { schemes: schemes.to_vec(), ..Anybody::default() }, versions)
    }

    pub fn of(versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::with(Anybody::default(), versions)
    }

    /// The same with other protocols in the hello; without any, nothing is said of them.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    fn with(anybody: Anybody, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let config = ClientConfig::builder_with_provider(anybody.provider.clone())
            .with_protocol_versions(versions)
            .expect("ring knows these versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anybody))
            .with_no_client_auth();
        Self(config)
    }

    /// A connection for HTTP/1.1 with whoever has this name; an IP address is none.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> (Client, Agreed) {
        let (stream, agreed) = self.handshake(address, name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        (Client::over(Wire::new(stream)), agreed)
    }

    /// Like [`Dialer::connect`], where it may not come to a connection.
    pub async fn try_connect(&self, address: SocketAddr, name: &str) -> io::Result<(Client, Agreed)> {
        let (stream, agreed) = self.handshake(address, name).await?;
        Ok((Client::over(Wire::new(stream)), agreed))
    }

    /// A connection for HTTP/2.
    pub async fn connect_h2(&self, address: SocketAddr, name: &str) -> (H2Client, Agreed) {
        let (stream, agreed) = self.handshake(address, name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        (H2Client::over(stream).await, agreed)
    }

    /// Why a handshake fails, which it must.
    pub async fn refused(&self, address: SocketAddr, name: &str) -> String {
        match self.handshake(address, name).await {
            Ok((_, agreed)) => panic!("{name}: {agreed:?}"),
            Err(error) => error.to_string(),
        }
    }

    async fn handshake(&self, address: SocketAddr, name: &str) -> io::Result<(TlsStream<TcpStream>, Agreed)> {
        let name = ServerName::try_from(name.to_owned()).expect("tests dial valid names");
        let handshake = async {
            let stream = TcpStream::connect(address).await?;
            TlsConnector::from(Arc::new(self.0.clone())).connect(name, stream).await
        };
        let stream = soon("a handshake", handshake).await?;
        let session: &ClientConnection = stream.get_ref().1;
        let certificates = session.peer_certificates().unwrap_or_default();
        let agreed = Agreed {
            certificate: certificates.first().expect("gateways show a certificate").clone(),
            protocol: session.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
            version: session.protocol_version(),
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        Ok((stream, agreed))
    }
}

/// Anybody's certificate will do.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
}

impl Default for Anybody {
    fn default() -> Self {
        let provider = ring::default_provider();
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        Self { provider: Arc::new(provider), schemes }
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
