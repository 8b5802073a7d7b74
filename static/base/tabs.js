/** On a narrow screen the tabs scroll sideways: the current one is brought into view. */
for (const tab of document.querySelectorAll('.tabs [aria-current="page"]')) {
  tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.offsetWidth) / 2;
}
