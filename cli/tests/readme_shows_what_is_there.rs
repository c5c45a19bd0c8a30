//! What the README quotes is what the files say.

const README: &str = include_str!("../../README.md");

#[test]
fn the_c_example_is_the_file() {
    assert!(README.contains(include_str!("../../examples/frame.c")));
}

#[test]
fn every_link_into_the_project_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let links: Vec<_> = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
        .collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(root.join(link).exists(), "{link}");
    }
}
