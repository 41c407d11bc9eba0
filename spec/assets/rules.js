// Makes each rule's id a link to itself and its level a mark. Without it the pages read the same.
document.querySelectorAll(".md-typeset :is(p, td) > strong[id]:first-child").forEach((id) => {
  const link = document.createElement("a");
  link.href = `#${id.id}`;
  link.className = "rule-id";
  link.append(...id.childNodes);
  id.append(link);
  const after = id.nextSibling;
  const level = after && /^ \((wire|strict|withdrawn)\) /.exec(after.data);
  if (!level) return;
  const mark = document.createElement("span");
  mark.className = `rule-level ${level[1]}`;
  mark.textContent = level[1];
  after.data = ` ${after.data.slice(level[0].length)}`;
  id.after(" ", mark);
  id.parentElement.classList.add("rule");
});
