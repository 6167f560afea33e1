//! Names of the members of objects without schema: messages of one source mostly have the same, in the same order.

use super::text_scan;

/// Objects of a message that are remembered.
const OBJECTS: usize = 32;
/// Bytes of names that are remembered of an object.
const BYTES: usize = 1024;
/// Messages that have to differ before other names are remembered.
const PATIENCE: u8 = 8;

/// The names of one object, each as it stands in the text: `"name":`.
#[derive(Debug, Default)]
struct Shape {
    names: Vec<Box<[u8]>>,
    misses: u8,
}

/// The names of the objects of a message, in the order in which the objects begin.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    /// Objects of the message that have begun.
    begun: usize,
}

impl Shapes {
    /// A new message.
    pub(super) const fn restart(&mut self) {
        self.begun = 0;
    }

    /// An object begins; gives its number.
    pub(super) const fn begin(&mut self) -> usize {
        self.begun += 1;
        self.begun - 1
    }

    /// What the text is expected to have at a member.
    #[inline]
    pub(super) fn name(&self, object: usize, member: usize) -> Option<&[u8]> {
        self.shapes.get(object)?.names.get(member).map(|name| &**name)
    }

    /// The object had these names, all different.
    #[cold]
    pub(super) fn learn<'a>(&mut self, object: usize, names: impl Iterator<Item = &'a [u8]> + Clone) {
        if object >= OBJECTS {
            return;
        }
        if self.shapes.len() <= object {
            self.shapes.resize_with(object + 1, Shape::default);
        }
        let shape = &mut self.shapes[object];
        if shape.misses > 0 {
            shape.misses -= 1;
            return;
        }
        shape.misses = PATIENCE;
        // a name with escapes does not stand in the text as it is
        let plain = names.clone().all(|name| text_scan::plain(name) == name.len());
        if plain && names.clone().map(<[u8]>::len).sum::<usize>() <= BYTES {
            shape.names = names.map(|name| [b"\"", name, b"\":"].concat().into_boxed_slice()).collect();
        }
    }
}
