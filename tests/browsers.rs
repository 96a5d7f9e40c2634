//! Browsers and other people's readers of streams, as clients of the host.

mod chat;
mod developer;
mod follow;
mod full;
mod lobby;
mod origins;
mod recovery;
mod relay;
mod ticker;

use serde_json::json;

use crate::harness::Browser;

/// Checks that an open page fits a phone and a desktop, is readable in both themes, and names its
/// parts. Writes a picture of each to `target/screenshots`.
async fn assert_fits_and_is_readable(browser: &Browser, page: &str) {
    for (name, width, height) in [("phone", 360, 740), ("desktop", 1000, 900)] {
        for scheme in ["light", "dark"] {
            browser.screen(width, height, width < 500).await;
            browser.color_scheme(scheme).await;
            let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth", json!([])).await;
            assert!(overflow.as_i64().unwrap() <= 0, "{name}: the page is {overflow} pixels too wide");
            let faint = browser.run(FAINT, json!([])).await;
            assert_eq!(faint, json!([]), "{name}, {scheme}: these elements have too little contrast");
            browser.screenshot(&format!("{page}-{name}-{scheme}")).await;
        }
    }
    // Everything that a keyboard can reach has a name.
    let unnamed = "return [...document.querySelectorAll('button, input, select, section, table, [tabindex]')]
        .filter((it) => !it.innerText && !it.labels?.length && !it.getAttribute('aria-label')
            && !it.hasAttribute('aria-labelledby')).length";
    assert_eq!(browser.run(unnamed, json!([])).await, 0);
}

/// Returns the elements whose text has a contrast below 4.5 with its background (WCAG 2.2, 1.4.3),
/// except disabled buttons.
const FAINT: &str = "
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
        for (let it = element; it; it = it.parentElement) {
            const color = parts(getComputedStyle(it).backgroundColor);
            if (color.length < 4 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter((element) => !element.disabled
        && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && element.checkVisibility());
    return texts.filter((element) => {
        const [one, other] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))];
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5;
    }).map((element) => element.outerHTML.slice(0, 80));";
