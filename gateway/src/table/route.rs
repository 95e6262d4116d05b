use std::sync::Arc;

use conf::{Filter, Hostname, Listener, Match, Name, Target};

use super::backend::{List, Places};
use super::path::Candidate;
use super::precedence::{Place, Precedence};
use super::{Backends, Choice, ChoiceTarget, Filters, Mirror, MirrorDestination, Rule, Timeouts};
use crate::metrics::{Metrics, Requests};
use crate::mirror::Mirrors;

/// A route whose rules are ready to serve from, wherever its listeners put them.
pub(super) struct Route {
    name: Name,
    pub(super) listeners: Box<[Name]>,
    hostnames: Box<[Hostname]>,
    order: Arc<str>,
    rules: Box<[(Arc<Rule>, Matches)]>,
    /// The backends that its rules refer to, as often as they do.
    pub(super) references: Box<[Name]>,
}

/// Those of one rule; any of them is enough.
type Matches = Box<[Arc<Match>]>;

impl Route {
    /// Under which hostnames of a listener its matches stand, and where.
    pub(super) fn candidates(
        &self,
        listener: &Listener,
    ) -> impl Iterator<Item = (Option<Hostname>, Precedence, Candidate)> {
        self.hostnames_on(listener).into_iter().flat_map(move |hostname| {
            self.rules.iter().flat_map(move |(rule, matches)| {
                let hostname = hostname.clone();
                matches.iter().enumerate().map(move |(condition, conditions)| {
                    let place = Place { order: &self.order, route: &self.name, rule: rule.index, condition };
                    let precedence = Precedence::of(hostname.as_ref(), conditions, &place);
                    let candidate = Candidate { conditions: Arc::clone(conditions), rule: Arc::clone(rule) };
                    (hostname.clone(), precedence, candidate)
                })
            })
        })
    }

    /// What the route's and the listener's hostnames both cover; `None` is any host.
    fn hostnames_on(&self, listener: &Listener) -> Vec<Option<Hostname>> {
        if self.hostnames.is_empty() {
            return vec![listener.hostname.clone()];
        }
        let covered = self.hostnames.iter().filter_map(|hostname| match &listener.hostname {
            Some(limit) => hostname.intersection(limit),
            None => Some(hostname.clone()),
        });
        let mut covered: Vec<_> = covered.map(Some).collect();
        covered.sort();
        covered.dedup();
        covered
    }
}

/// What a route's names are resolved with.
pub(super) struct Resolver<'c> {
    pub(super) mirrors: &'c Arc<Mirrors>,
    pub(super) metrics: &'c Metrics,
    pub(super) places: &'c mut Places,
    pub(super) list: &'c mut List,
}

impl Resolver<'_> {
    /// The rules go on with the shares of those of the version before.
    pub(super) fn route(&mut self, document: conf::Route, before: Option<&Route>) -> Route {
        let conf::Route { name, listeners, hostnames, order, rules } = document;
        let requests = self.metrics.of_route(&name);
        let mut resolving = Resolving { resolver: self, route: &name, requests, references: Vec::new() };
        let rules = rules.into_iter().enumerate().map(|(index, rule)| {
            let before = before.and_then(|route| route.rules.get(index)).map(|(rule, _)| &**rule);
            resolving.rule(index, rule, before)
        });
        let rules = rules.collect();
        let references = resolving.references.into();
        Route { name, listeners: listeners.into(), hostnames: hostnames.into(), order, rules, references }
    }
}

struct Resolving<'r, 'c> {
    resolver: &'r mut Resolver<'c>,
    route: &'r Name,
    requests: Arc<Requests>,
    references: Vec<Name>,
}

impl Resolving<'_, '_> {
    fn rule(&mut self, index: usize, document: conf::Rule, before: Option<&Rule>) -> (Arc<Rule>, Matches) {
        let conf::Rule { name, matches, filters, backends, timeouts, retry } = document;
        let choices = backends.into_iter().map(|weighted| {
            let conf::WeightedBackend { target, weight, filters } = weighted;
            let target = match target {
                Target::Backend(name) => ChoiceTarget::Backend(self.backend(name)),
                Target::Invalid(reason) => ChoiceTarget::Invalid(reason),
            };
            (weight, Choice { target, filters: self.filters(filters) })
        });
        let choices: Vec<_> = choices.collect();
        let rule = Rule {
            route: self.route.clone(),
            index,
            name,
            filters: self.filters(filters),
            backends: Backends::new(choices, before.map(|before| &before.backends)),
            timeouts: Timeouts::new(timeouts),
            retry: retry.map(Box::new),
            requests: Arc::clone(&self.requests),
            samples: before.map(|before| before.samples.clone()).unwrap_or_default(),
        };
        // "If no matches are specified, the default is a prefix path match on /".
        let matches = if matches.is_empty() { vec![Arc::default()] } else { matches };
        (Arc::new(rule), matches.into())
    }

    fn filters(&mut self, documents: Vec<Filter>) -> Option<Box<Filters>> {
        if documents.is_empty() {
            return None;
        }
        let mut filters = Box::new(Filters::NONE);
        for document in documents {
            match document {
                Filter::RequestHeaderModifier(modifier) => filters.request_headers = Some(Box::new(modifier)),
                Filter::ResponseHeaderModifier(modifier) => filters.response_headers = Some(Box::new(modifier)),
                Filter::RequestRedirect(redirect) => filters.redirect = Some(Box::new(redirect)),
                Filter::UrlRewrite(rewrite) => filters.rewrite = Some(Box::new(rewrite)),
                Filter::Cors(cors) => filters.cors = Some(Arc::new(cors)),
                Filter::RequestMirror(mirror) => filters.mirrors.push(self.mirror(mirror)),
            }
        }
        Some(filters)
    }

    fn mirror(&mut self, document: conf::Mirror) -> Mirror {
        let conf::Mirror { target, fraction } = document;
        let mirrors = self.resolver.mirrors;
        match target {
            Target::Backend(name) => {
                let (receiver, account) = (mirrors.receiver(&name), mirrors.account(self.route, &name));
                Mirror { fraction, destination: MirrorDestination::Backend(self.backend(name), receiver), account }
            }
            Target::Invalid(reason) => {
                let nowhere: Name = INVALID.parse().expect("it has no white space");
                let account = mirrors.account(self.route, &nowhere);
                Mirror { fraction, destination: MirrorDestination::Invalid(reason), account }
            }
        }
    }

    fn backend(&mut self, name: Name) -> super::BackendId {
        let id = self.resolver.places.refer(self.resolver.list, &name);
        self.references.push(name);
        id
    }
}

/// What a mirror that leads nowhere is called in the books.
const INVALID: &str = "invalid";
