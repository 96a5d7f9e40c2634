//! Checks the middlewares of a route that are routes of modules, as far as one manifest shows.

use super::{Check, name_of};
use crate::call::RouteName;
use crate::config::{Capabilities, formats};
use crate::document::tree::{Node, Path as KeyPath};
use crate::registry::manifest::raw::Middleware;

/// The most routes among the middlewares of one route.
const MOST: usize = 8;

impl Check<'_> {
    /// Returns the middlewares of the route at `index` that are routes.
    pub(super) fn chain(&mut self, index: usize, node: &Node, names: &[String]) -> Vec<RouteName> {
        let own = name_of(self.dir);
        let path = KeyPath::of(&["routes"]).index(index).key("middlewares");
        let list = node.get("middlewares").unwrap_or(node);
        let mut chain = Vec::new();
        for (at, text) in names.iter().enumerate().filter(|(_, text)| Middleware::of(text).is_none()) {
            // The schema reports a malformed name.
            let Some(name) = RouteName::parse(text).ok().filter(|_| formats::check("middleware", text).is_ok()) else {
                continue;
            };
            let module = name.module.unwrap_or_else(|| own.clone());
            if module != own && !self.may_call(&module) {
                let (item, path) = match list.items().get(at) {
                    Some(item) => (item, path.index(at)),
                    None => (list, path.clone()),
                };
                let message = format!("calls a route of {module}: add \"{module}\" to capabilities.rpc");
                self.fault(&item.origin, &path, message);
            }
            chain.push(RouteName { module: Some(module), ..name });
        }
        if chain.len() > MOST {
            let message = format!("must have at most {MOST} routes, found {}: remove some", chain.len());
            self.fault(&list.origin, &path, message);
        }
        chain
    }

    fn may_call(&self, module: &str) -> bool {
        let capabilities: Option<Capabilities> = self.tree.get("capabilities").and_then(Node::read);
        capabilities.is_some_and(|capabilities| capabilities.rpc.allow(module))
    }
}
