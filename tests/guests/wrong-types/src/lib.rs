//! Exports `handler` with a function of the wrong type.

wit_bindgen::generate!({
    inline: "
        package fanfare:module@0.1.0;
        interface handler {
            handle: func(call: string) -> string;
        }
        world wrong-types {
            export handler;
        }
    ",
});

struct Component;

impl exports::fanfare::module::handler::Guest for Component {
    fn handle(call: String) -> String {
        call
    }
}

export!(Component);
