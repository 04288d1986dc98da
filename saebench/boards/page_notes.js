// What a reader of a large page should know of it, below its first paragraph.

byId("first-box").before(...data.notes.map((text) => make("p", {}, text)));
byId("compare").style.display = "none";
