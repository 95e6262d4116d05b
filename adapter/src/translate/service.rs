//! The Services and EndpointSlices that clients reach Gateways by in service mode, and the
//! addresses that Gateways have by them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointPort;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::address::{self, NOT_ASSIGNED, NOT_USABLE, Reach, Request, ServiceType};
use super::backend::SERVICE_NAME;
use super::name;
use super::pods::{Family, Pods};
use crate::api::{CONTROLLER_NAME, EndpointSlice, GROUP, Gateway, ObjectKey, ObjectRef, Service};
use crate::owned::{self, Objects};
use crate::snapshot::Snapshot;
use crate::status::{Address, Fault};

/// What the Services of all Gateways are made from.
pub(super) struct Services<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) refused: &'a BTreeMap<ObjectRef, String>,
    pub(super) service_type: ServiceType,
    /// The Service that selects them, for messages.
    pub(super) gateway_service: &'a ObjectKey,
    pub(super) pods: &'a Pods,
}

/// A Gateway that is to be exposed.
#[derive(Clone, Copy)]
pub(super) struct Exposed<'g> {
    pub(super) key: &'g ObjectKey,
    pub(super) gateway: &'g Gateway,
    /// Its ports, and those of the gateway pods that they lead to.
    pub(super) ports: &'g BTreeMap<i32, u16>,
}

impl Services<'_> {
    /// Adds to `objects` what the Gateway needs: one Service, or one for each address that it asks
    /// for, since a Service can ask for one.
    pub(super) fn expose(&self, exposed: Exposed<'_>, objects: &mut Objects) -> Reach {
        let mut reach = Reach::default();
        let mut faults = Vec::new();
        let requests = Request::all(exposed.gateway);
        for (request, number) in requests.iter().zip(self.numbers(exposed.key, &requests)) {
            let name = name::service(exposed.key, number);
            let placed = self.place(exposed, &name, *request, objects);
            match self.obtained(exposed.key, &name, *request) {
                Ok(addresses) => {
                    reach.add(addresses);
                    faults.extend(placed.err());
                }
                Err(fault) => faults.push(placed.err().unwrap_or(fault)),
            }
            let service = self.own(exposed.key, &name).filter(|_| self.service_type == ServiceType::NodePort);
            reach.remark = service.and_then(node_ports).or(reach.remark);
        }
        if self.pods.ready().next().is_none() {
            let message = format!("no gateway pod is ready: Service {} has no ready endpoint", self.gateway_service);
            faults.push(Fault::new(NO_RESOURCES, message));
        }
        // What is not known yet may still turn out well.
        faults.sort_by_key(|fault| fault.reason == NOT_USABLE);
        let fault = faults.into_iter().next();
        reach.fault =
            fault.map(|fault| Fault::new(fault.reason, format!("Gateway {}: {}", exposed.key, fault.message)));
        reach
    }

    fn own(&self, gateway: &ObjectKey, name: &ObjectKey) -> Option<&Service> {
        let service = self.snapshot.services.get(name)?;
        (owned::gateway(&service.metadata) == Some(&gateway.name)).then_some(service)
    }

    /// Which of a Gateway's Services is for which request. One that has the requested address, or
    /// asks for it, goes on with it: so an address is not let go while others come and go, nor when
    /// it was given first and is requested afterwards.
    fn numbers(&self, gateway: &ObjectKey, requests: &[Request<'_>]) -> Vec<usize> {
        if self.service_type != ServiceType::LoadBalancer {
            return vec![0; requests.len()];
        }
        let present = |number| Some((number, self.own(gateway, &name::service(gateway, number))?));
        let present: Vec<(usize, &Service)> = (0..address::MOST).filter_map(present).collect();
        let mut numbers: Vec<Option<usize>> = vec![None; requests.len()];
        let has = |service: &Service, value: &str| given(service).iter().any(|address| address.value == value);
        let asks = |service: &Service, value: &str| asked(service) == Some(value);
        for suits in [&has as &dyn Fn(&Service, &str) -> bool, &asks] {
            for (i, request) in requests.iter().enumerate() {
                let Some(value) = request.value.filter(|_| numbers[i].is_none()) else { continue };
                let is_free = |number: &usize| !numbers.contains(&Some(*number));
                let suitable = present.iter().find(|(number, service)| is_free(number) && suits(service, value));
                numbers[i] = suitable.map(|(number, _)| *number);
            }
        }
        let taken: Vec<usize> = numbers.iter().flatten().copied().collect();
        let mut free = (0..).filter(|number| !taken.contains(number));
        numbers.into_iter().filter_map(|number| number.or_else(|| free.next())).collect()
    }

    /// Adds a Service and what it leads to, but for what stands in the way; and says what does.
    fn place(
        &self,
        exposed: Exposed<'_>,
        name: &ObjectKey,
        request: Request<'_>,
        objects: &mut Objects,
    ) -> Result<(), Fault> {
        let present = self.snapshot.services.get(name);
        in_the_way("Service", name, exposed.key, present.map(|service| &service.metadata))?;
        objects.services.insert(name.clone(), self.service(exposed, name, request));
        let mut placed = self.refusal("Service", name);
        for (key, slice) in self.slices(exposed, name) {
            let present = self.snapshot.slices.get(&key);
            let possible = in_the_way("EndpointSlice", &key, exposed.key, present.map(|slice| &slice.metadata));
            if possible.is_ok() {
                objects.slices.insert(key.clone(), slice);
            }
            placed = placed.and(possible).and(self.refusal("EndpointSlice", &key));
        }
        placed
    }

    /// What was asked for before, is asked for again, and was not to be had so far.
    fn refusal(&self, kind: &'static str, key: &ObjectKey) -> Result<(), Fault> {
        match self.refused.get(&ObjectRef::new(kind, key)) {
            Some(why) => Err(Fault::new(NO_RESOURCES, format!("{kind} {key} cannot be made as it should be: {why}"))),
            None => Ok(()),
        }
    }

    fn service(&self, exposed: Exposed<'_>, name: &ObjectKey, request: Request<'_>) -> Service {
        let ports = exposed.ports.iter().map(|(port, target)| ServicePort {
            name: Some(port_name(*port)),
            port: *port,
            protocol: Some(TCP.to_owned()),
            target_port: Some(IntOrString::Int((*target).into())),
            ..ServicePort::default()
        });
        // Every machine has a gateway pod of its own, so clients keep their address at no cost.
        let policy = (self.service_type != ServiceType::ClusterIp).then(|| "Local".to_owned());
        let is_ours_to_ask = self.service_type == ServiceType::LoadBalancer;
        let asked = request.value.filter(|value| is_ours_to_ask && value.parse::<IpAddr>().is_ok());
        Service {
            metadata: metadata(exposed, name, &[]),
            spec: Some(ServiceSpec {
                type_: Some(self.service_type.to_string()),
                ports: Some(ports.collect()),
                external_traffic_policy: policy,
                load_balancer_ip: asked.map(str::to_owned),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }

    /// All gateway pods in the state that they are in, so that traffic leaves one that terminates
    /// in its own good time.
    fn slices(&self, exposed: Exposed<'_>, service: &ObjectKey) -> Vec<(ObjectKey, EndpointSlice)> {
        let ports: Vec<_> = exposed
            .ports
            .iter()
            .map(|(port, target)| EndpointPort {
                name: Some(port_name(*port)),
                port: Some((*target).into()),
                protocol: Some(TCP.to_owned()),
                ..EndpointPort::default()
            })
            .collect();
        let labels =
            [(SERVICE_NAME, service.name.as_str()), ("endpointslice.kubernetes.io/managed-by", owned::MANAGER)];
        let mut slices = Vec::new();
        for family in Family::ALL {
            for (i, endpoints) in self.pods.endpoints(family).chunks(MOST_ENDPOINTS).enumerate() {
                let suffix = format!("{}-{}", family.as_str().to_ascii_lowercase(), i + 1);
                let key = ObjectKey::new(&service.namespace, &format!("{}-{suffix}", service.name));
                let slice = EndpointSlice {
                    address_type: family.as_str().to_owned(),
                    endpoints: endpoints.to_vec(),
                    metadata: metadata(exposed, &key, &labels),
                    ports: Some(ports.clone()),
                };
                slices.push((key, slice));
            }
        }
        slices
    }

    /// The addresses that a Service has for a request.
    fn obtained(&self, gateway: &ObjectKey, name: &ObjectKey, request: Request<'_>) -> Result<Vec<Address>, Fault> {
        let Some(service) = self.own(gateway, name) else {
            return Err(Fault::new(PENDING, format!("Service {name} is being made")));
        };
        if self.service_type != ServiceType::LoadBalancer {
            let given = cluster_addresses(service);
            let found = request.pick(&given);
            return match (found.is_empty(), given.is_empty()) {
                (false, _) => Ok(found),
                (true, true) => Err(Fault::new(NOT_ASSIGNED, format!("Service {name} has no address yet"))),
                (true, false) => Err(Fault::new(
                    NOT_USABLE,
                    format!(
                        "{request} cannot be asked for: Service {name} is of type {} and has {}; leave spec.addresses empty",
                        self.service_type,
                        address::join(&given)
                    ),
                )),
            };
        }
        let given = given(service);
        let found = request.pick(&given);
        if !found.is_empty() {
            return Ok(found);
        }
        let is_asked =
            request.value.is_none_or(|value| value.parse::<IpAddr>().is_err() || asked(service) == Some(value));
        if given.is_empty() || !is_asked {
            let message = format!(
                "Service {name} waits for {request} from the cluster's load balancer; if that takes long, see the events of the Service"
            );
            return Err(Fault::new(NOT_ASSIGNED, message));
        }
        Err(Fault::new(
            NOT_USABLE,
            format!(
                "{request} is not to be had: the cluster's load balancer gave {} to Service {name}; ask for one that it can give",
                address::join(&given)
            ),
        ))
    }
}

/// An object of this name that was not made for this Gateway is not ours to change.
fn in_the_way(
    kind: &'static str,
    key: &ObjectKey,
    gateway: &ObjectKey,
    present: Option<&ObjectMeta>,
) -> Result<(), Fault> {
    if present.is_none_or(|metadata| owned::gateway(metadata) == Some(&gateway.name)) {
        return Ok(());
    }
    let message = format!(
        "{kind} {key} is in the way: it was not made by {CONTROLLER_NAME} for this Gateway; rename or delete it"
    );
    Err(Fault::new(NOT_ASSIGNED, message))
}

fn metadata(exposed: Exposed<'_>, name: &ObjectKey, labels: &[(&str, &str)]) -> ObjectMeta {
    let infrastructure = exposed.gateway.spec.infrastructure.as_ref();
    let mut all = infrastructure.and_then(|infrastructure| infrastructure.labels.clone()).unwrap_or_default();
    let gateway_name = name::label(&exposed.key.name);
    let marks = [(owned::MANAGED_BY, owned::MANAGER), (GATEWAY_NAME, gateway_name.as_str())];
    all.extend(labels.iter().copied().chain(marks).map(|(key, value)| (key.to_owned(), value.to_owned())));
    let owner = OwnerReference {
        api_version: format!("{GROUP}/v1"),
        kind: "Gateway".to_owned(),
        name: exposed.key.name.clone(),
        uid: exposed.gateway.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    ObjectMeta {
        name: Some(name.name.clone()),
        namespace: Some(name.namespace.clone()),
        labels: Some(all),
        annotations: infrastructure.and_then(|infrastructure| infrastructure.annotations.clone()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

/// What a load balancer gave to a Service.
fn given(service: &Service) -> Vec<Address> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter_map(|one| one.ip.as_deref().or(one.hostname.as_deref())).map(address::address).collect()
}

fn asked(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.load_balancer_ip.as_deref()
}

fn cluster_addresses(service: &Service) -> Vec<Address> {
    let spec = service.spec.as_ref();
    let all = spec.and_then(|spec| spec.cluster_ips.clone().or_else(|| Some(vec![spec.cluster_ip.clone()?])));
    let is_address = |value: &&String| value.parse::<IpAddr>().is_ok();
    all.iter().flatten().filter(is_address).map(|value| address::address(value)).collect()
}

/// Which port of each machine leads to which port of the Gateway.
fn node_ports(service: &Service) -> Option<String> {
    let ports = service.spec.as_ref()?.ports.iter().flatten();
    let ports: Vec<_> = ports.filter_map(|port| Some(format!("{} for port {}", port.node_port?, port.port))).collect();
    (!ports.is_empty()).then(|| format!("each machine that runs the gateway has {}", ports.join(", ")))
}

fn port_name(port: i32) -> String {
    format!("port-{port}")
}

const PENDING: &str = "Pending";
const NO_RESOURCES: &str = "NoResources";
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const TCP: &str = "TCP";
/// What the API server takes in one slice.
const MOST_ENDPOINTS: usize = 1000;
