//! A component that is not a module, because it exports no handler.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package guests:wrong-exports;
        world wrong-exports {
            export fanfare:module/describe@0.1.0;
        }
    ",
    generate_all,
});

struct Component;

impl exports::fanfare::module::describe::Guest for Component {
    fn handlers() -> Vec<String> {
        vec!["ok".to_owned()]
    }
}

export!(Component);
