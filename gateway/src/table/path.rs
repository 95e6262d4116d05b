use std::sync::Arc;

use conf::{Match, PathMatch};

use super::conditions::holds;
use super::longest::Longest;
use super::precedence::Precedence;
use super::shared::SharedMap;
use super::{Request, Rule};

/// The rules of one hostname, by path.
#[derive(Clone, Default)]
pub(super) struct PathMap {
    exact: SharedMap<Candidates>,
    regexes: Candidates,
    prefixes: Longest<Candidates>,
}

/// Those that the path does not tell apart, in order of precedence. Nearly always it is one, for
/// which a tree would take up a kilobyte.
type Candidates = Arc<Vec<(Precedence, Candidate)>>;

/// A rule, and one of the matches for which it answers.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) conditions: Arc<Match>,
    pub(super) rule: Arc<Rule>,
}

impl PathMap {
    /// The rule that answers, and how much of the path its prefix covered.
    pub(super) fn find(&self, request: &Request<'_>) -> Option<(&Arc<Rule>, Option<usize>)> {
        let exact = || Some((first(self.exact.get(request.path)?, request)?, None));
        let regex = || Some((first(&self.regexes, request)?, None));
        let prefix = || {
            let mut covering = self.prefixes.covering(|length| prefix_of_length(request.path, length));
            covering.find_map(|(length, candidates)| Some((first(candidates, request)?, Some(length))))
        };
        exact().or_else(regex).or_else(prefix)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.regexes.is_empty() && self.prefixes.is_empty()
    }

    pub(super) fn insert(&mut self, precedence: Precedence, candidate: Candidate) {
        let conditions = Arc::clone(&candidate.conditions);
        let candidates = match &conditions.path {
            Some(PathMatch::Exact(path)) => {
                if self.exact.get_mut(path).is_none() {
                    self.exact.insert_new(path, Candidates::default());
                }
                self.exact.get_mut(path)
            }
            Some(PathMatch::Regex(_)) => Some(&mut self.regexes),
            prefix @ (Some(PathMatch::Prefix(_)) | None) => {
                let prefix = prefix_of(prefix.as_ref());
                if self.prefixes.get_mut(prefix).is_none() {
                    self.prefixes.insert_new(prefix, Candidates::default());
                }
                self.prefixes.get_mut(prefix)
            }
        };
        let candidates = Arc::make_mut(candidates.expect("it is there or was just inserted"));
        if candidates.is_empty() {
            candidates.reserve_exact(1);
        }
        match candidates.binary_search_by(|(other, _)| other.cmp(&precedence)) {
            Ok(index) => candidates[index].1 = candidate,
            Err(index) => candidates.insert(index, (precedence, candidate)),
        }
    }

    /// `conditions` are those that the candidate was inserted with.
    pub(super) fn remove(&mut self, precedence: &Precedence, conditions: &Match) {
        match &conditions.path {
            Some(PathMatch::Exact(path)) => {
                if self.exact.get_mut(path).is_some_and(|candidates| is_last(candidates, precedence)) {
                    self.exact.remove(path);
                }
            }
            Some(PathMatch::Regex(_)) => {
                is_last(&mut self.regexes, precedence);
            }
            prefix @ (Some(PathMatch::Prefix(_)) | None) => {
                let prefix = prefix_of(prefix.as_ref());
                if self.prefixes.get_mut(prefix).is_some_and(|candidates| is_last(candidates, precedence)) {
                    self.prefixes.remove(prefix);
                }
            }
        }
    }

    /// All candidates, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Precedence, &Candidate)> {
        let exact = self.exact.iter().map(|(_, candidates)| candidates);
        let prefixes = self.prefixes.iter().map(|(_, candidates)| candidates);
        exact
            .chain([&self.regexes])
            .chain(prefixes)
            .flat_map(|candidates| candidates.iter())
            .map(|(precedence, candidate)| (precedence, candidate))
    }
}

fn first<'c>(candidates: &'c Candidates, request: &Request<'_>) -> Option<&'c Arc<Rule>> {
    let (_, candidate) = candidates.iter().find(|(_, candidate)| holds(&candidate.conditions, request))?;
    Some(&candidate.rule)
}

/// Removes a candidate and tells whether none is left.
fn is_last(candidates: &mut Candidates, precedence: &Precedence) -> bool {
    let candidates = Arc::make_mut(candidates);
    if let Ok(index) = candidates.binary_search_by(|(other, _)| other.cmp(precedence)) {
        candidates.remove(index);
    }
    candidates.is_empty()
}

/// Whether the path alone would do, and how much of it a prefix covers.
pub(super) fn path_holds(expected: Option<&PathMatch>, path: &str) -> bool {
    match expected {
        Some(PathMatch::Exact(exact)) => path == exact,
        Some(PathMatch::Regex(pattern)) => pattern.matches(path),
        prefix @ (Some(PathMatch::Prefix(_)) | None) => {
            let prefix = prefix_of(prefix);
            prefix_of_length(path, prefix.len()) == Some(prefix)
        }
    }
}

fn prefix_of(path: Option<&PathMatch>) -> &str {
    match path {
        Some(PathMatch::Prefix(prefix)) => prefix_name(prefix),
        Some(PathMatch::Exact(_) | PathMatch::Regex(_)) | None => "",
    }
}

/// "Trailing slashes are ignored", the one of `/` included, which covers every path, even `*`.
pub(super) fn prefix_name(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

/// The first `length` bytes of the path, where they are whole elements of it.
fn prefix_of_length(path: &str, length: usize) -> Option<&str> {
    let (prefix, rest) = path.split_at_checked(length)?;
    (length == 0 || rest.is_empty() || rest.starts_with('/')).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_whole_elements() {
        for (prefix, path, covered) in [
            ("/", "/", true),
            ("/", "/a/b", true),
            ("/", "*", true),
            ("/", "", true),
            ("/v2", "/v2", true),
            ("/v2", "/v2/", true),
            ("/v2", "/v2/a", true),
            ("/v2", "/v2a", false),
            ("/v2", "/v", false),
            ("/v2", "/V2", false),
            ("/v2/", "/v2", true),
            ("/v2/", "/v2/a", true),
            ("/v2/", "/v2a", false),
            ("/a//b", "/a//b/c", true),
            ("/a//b", "/a/b", false),
            ("/%2F", "/%2F/a", true),
            ("/%2F", "/%2f", false),
            ("/a", "/ä", false),
        ] {
            let expected = PathMatch::Prefix(prefix.into());
            assert_eq!(path_holds(Some(&expected), path), covered, "{prefix} {path}");
        }
    }

    #[test]
    fn exact_paths_and_expressions_cover_the_whole_path() {
        let exact = PathMatch::Exact("/a/".into());
        let regex = PathMatch::Regex("/a[0-9]*".parse().unwrap());
        for (path, is_exact, is_regex) in
            [("/a/", true, false), ("/a", false, true), ("/a12", false, true), ("/a12/", false, false)]
        {
            assert_eq!(path_holds(Some(&exact), path), is_exact, "{path}");
            assert_eq!(path_holds(Some(&regex), path), is_regex, "{path}");
        }
    }
}
