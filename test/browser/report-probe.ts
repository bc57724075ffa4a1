/**
 * What a browser is asked about a report: text for the page, because the tests know no document. Gives back what is
 * wrong, in words; nothing where all is well.
 */

/** @param contrast - least ratio of text and ground, as WCAG 2 counts it. */
export const layoutProblems = (contrast: number): string => `(() => {
  const problems = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    problems.push("the page is " + root.scrollWidth + " wide in a window of " + root.clientWidth);
  }
  const isVisible = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const within = 1;
  for (const svg of document.querySelectorAll("svg.chart")) {
    if (!isVisible(svg)) continue;
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")]
      .filter((text) => text.textContent.trim() !== "")
      .map((text) => ({ text: text.textContent, box: text.getBoundingClientRect(), size: parseFloat(getComputedStyle(text).fontSize) * frame.width / svg.viewBox.baseVal.width }));
    for (const { text, box, size } of texts) {
      if (box.left < frame.left - within || box.right > frame.right + within || box.top < frame.top - within || box.bottom > frame.bottom + within) {
        problems.push('"' + text + '" leaves its chart: ' + svg.getAttribute("aria-label"));
      }
      if (size < 9.5) problems.push('"' + text + '" is ' + size.toFixed(1) + " pixels high");
    }
    for (let i = 0; i < texts.length; i++) {
      for (let j = i + 1; j < texts.length; j++) {
        const [a, b] = [texts[i].box, texts[j].box];
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        // Boxes are a line high; letters are lower.
        if (x > 0.5 && y > 3) problems.push('"' + texts[i].text + '" overlaps "' + texts[j].text + '": ' + svg.getAttribute("aria-label"));
      }
    }
  }
  const blocks = [...document.querySelectorAll("h1, h2, h3, p, li, dt, dd, th, td, figcaption, caption, summary, pre")].filter(isVisible);
  for (const block of blocks) {
    const box = block.getBoundingClientRect();
    const frame = block.closest(".scroll");
    const scrolls = frame !== null && getComputedStyle(frame).overflowX !== "visible";
    if (!scrolls && !block.classList.contains("unseen") && (box.right > root.clientWidth + within || box.left < -within)) {
      problems.push("text leaves the page: " + block.textContent.trim().slice(0, 60));
    }
  }
  const parse = (colour) => {
    const parts = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: parts.slice(0, 3), alpha: parts[3] ?? 1 };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => { const c = value / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { rgb, alpha } = parse(getComputedStyle(at).backgroundColor);
      if (alpha > 0.5) return rgb;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!own || !isVisible(element) || element.tagName === "SCRIPT" || element.tagName === "title") continue;
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    if (!/^rgb/.test(colour)) continue;
    const [a, b] = [luminance(parse(colour).rgb), luminance(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < ${contrast}) poor.add(colour + " on " + ground(element) + " is " + ratio.toFixed(2) + ', as in "' + element.textContent.trim().slice(0, 30) + '"');
  }
  return [...problems, ...poor];
})()`;

/** The first words of each element that is not to be seen, whatever hides it. */
export const unseen = (selector: string): string => `(() =>
  [...document.querySelectorAll(${JSON.stringify(selector)})]
    .filter((element) => !element.checkVisibility({ visibilityProperty: true }) || element.getClientRects().length === 0)
    .map((element) => element.textContent.trim().slice(0, 60))
)()`;
