//! Checks what a module declares for connected clients: sockets and filters.

use std::collections::{BTreeMap, HashMap};

use super::rules::inside_only;
use super::{Check, name_of};
use crate::call::RouteName;
use crate::document::tree::{Member, Node, Path as KeyPath, quoted};
use crate::registry::manifest::filters::{self, Filters};
use crate::registry::manifest::model::Route;
use crate::registry::manifest::path;
use crate::registry::manifest::raw::Middleware;
use crate::registry::manifest::sockets::{self, RawSocket, Socket, SocketRoute, Sockets};

impl Check<'_> {
    pub(super) fn sockets(&mut self, routes: &[Option<Route>]) -> Sockets {
        let mut sockets = BTreeMap::new();
        let mut shapes: HashMap<Vec<Option<String>>, &str> = HashMap::new();
        for member in self.members("sockets").iter().take(sockets::MOST) {
            let at = KeyPath::of(&["sockets", &member.name]);
            let path = match path::parse(&member.name) {
                Ok(path) => path,
                Err(rule) => {
                    self.fault(&member.node.origin, &at, format!("the pattern {rule}"));
                    continue;
                }
            };
            let shape = path::shape(&path).into_iter().map(|part| part.map(str::to_owned)).collect();
            if let Some(other) = shapes.insert(shape, &member.name) {
                let message = format!("matches the same paths as {}: change one of the patterns", quoted(other));
                self.fault(&member.node.origin, &at, message);
                continue;
            }
            let Some(route) = self.socket_route(routes, member) else { continue };
            let Some(RawSocket { protocols, max_message, .. }) = member.node.read() else { continue };
            sockets.insert(member.name.clone(), Socket { path, route, protocols, max_message });
        }
        Sockets::new(sockets)
    }

    /// The route of a socket. That another module lacks it is no fault of this manifest.
    fn socket_route(&mut self, routes: &[Option<Route>], member: &Member) -> Option<SocketRoute> {
        let at = KeyPath::of(&["sockets", &member.name, "path"]);
        let module = member.node.get("module").and_then(Node::as_text);
        if let Some(module) = module.filter(|module| *module != name_of(self.dir)) {
            let node = member.node.get("path")?;
            let text = node.as_text()?;
            return match path::parse_reference(text) {
                Ok((method, _)) => {
                    let path = text.split_once(' ').map_or(text, |(_, path)| path).to_owned();
                    let module = Some(module.to_owned());
                    Some(SocketRoute::Other(RouteName { method, module, path, query: String::new() }))
                }
                Err(rule) => {
                    self.fault(&node.origin, &at, rule.to_string());
                    None
                }
            };
        }
        let index = self.reference(routes, "sockets", member)?;
        let found = routes.get(index).and_then(Option::as_ref);
        if found.is_some_and(|route| !route.middlewares.contains(&Middleware::Session)) {
            let rule = "must be a route with the middleware `session`: no message of a client reaches another";
            self.fault(&member.node.origin, &at, rule.to_owned());
        }
        Some(SocketRoute::Own(index))
    }

    pub(super) fn filters(&mut self, routes: &[Option<Route>]) -> Filters {
        let mut list = |stage: &str| self.filter_list(routes, stage);
        Filters { before: list("before"), after: list("after") }
    }

    fn filter_list(&mut self, routes: &[Option<Route>], stage: &str) -> Vec<usize> {
        let items = self.tree.get("filters").and_then(|filters| filters.get(stage)).map(Node::items);
        let items = items.unwrap_or_default();
        let mut found = Vec::new();
        for (index, node) in items.iter().enumerate().take(filters::MOST) {
            let at = KeyPath::of(&["filters", stage]).index(index);
            let Some(route) = node.as_text().and_then(|text| self.referenced(routes, &node.origin, &at, text)) else {
                continue;
            };
            match inside_only(routes, route, "filter") {
                Ok(()) => found.push(route),
                Err(rule) => self.fault(&node.origin, &at, rule),
            }
        }
        found
    }
}
