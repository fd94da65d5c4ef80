# The block design of every board: the core, an AXI GPIO with LEDs, the processing system.
# Untested: no Vivado here. Called by build.py:
#   vivado -mode batch -source design.tcl -tclargs BOARD.tcl REGISTERS.tcl RTL OUT DIMENSIONS PORTS
lassign $argv board_file registers_file rtl out dimensions ports
source $board_file

# The RTL as an IP of the VLNV that the driver is bound to.
create_project -force aggregate_ip $out/ip_project -part $part
add_files [glob $rtl/*.sv]
set_property top aggregate [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir $out/ip -vendor millrace -library gnn -name aggregate \
  -version 1.0 -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
foreach master {m_axi_0 m_axi_1} {
  ipx::associate_bus_interfaces -busif $master -clock aclk $core
}
ipx::associate_bus_interfaces -busif s_axi -clock aclk $core
set block [lindex [ipx::get_address_blocks -of_objects \
  [ipx::get_memory_maps s_axi -of_objects $core]] 0]
source $registers_file
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project

create_project -force millrace $out/project -part $part
# With the vendor's board files the preset sets up DDR, too. A board that pynq has booted has that
# done already, so they are no must.
if {[llength [get_board_parts -quiet $board_part]]} {
  set_property board_part $board_part [current_project]
}
set_property ip_repo_paths $out/ip [current_project]
update_ip_catalog

create_bd_design millrace
set system [create_bd_cell -type ip -vlnv $system_vlnv $system_name]
if {[get_property board_part [current_project]] ne ""} {
  apply_bd_automation -rule xilinx.com:bd_rule:[lindex [split $system_vlnv :] 2] \
    -config {apply_board_preset 1} $system
}
dict for {name value} $system_config {
  set_property CONFIG.$name $value $system
}
set core [create_bd_cell -type ip -vlnv millrace:gnn:aggregate:1.0 aggregate_0]
set_property -dict [list CONFIG.D $dimensions CONFIG.PORTS $ports] $core
set gpio [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_gpio:2.0 leds_gpio]
set_property -dict {CONFIG.C_GPIO_WIDTH 4 CONFIG.C_ALL_OUTPUTS 1} $gpio
set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset_0]

set clock [get_bd_pins $system/$clock_pin]
proc clocked {clock pins} {
  foreach pin $pins { connect_bd_net $clock [get_bd_pins $pin] }
}
clocked $clock [list $reset/slowest_sync_clk $core/aclk $gpio/s_axi_aclk]
foreach pin [concat $master_clocks $memory_clocks] { clocked $clock $system/$pin }
connect_bd_net [get_bd_pins $system/$reset_pin] [get_bd_pins $reset/ext_reset_in]
set resetn [get_bd_pins $reset/peripheral_aresetn]
connect_bd_net $resetn [get_bd_pins $core/aresetn] [get_bd_pins $gpio/s_axi_aresetn]

# SmartConnect turns AXI4 into the AXI3 of a Zynq-7000's ports; the core's bursts have 16 beats at
# most, which AXI3 takes whole.
proc joined {name masters clock resetn} {
  set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 $name]
  set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI $masters] $cell
  connect_bd_net $clock [get_bd_pins $cell/aclk]
  connect_bd_net $resetn [get_bd_pins $cell/aresetn]
  return $cell
}
set control [joined control_0 2 $clock $resetn]
connect_bd_intf_net [get_bd_intf_pins $system/$master] [get_bd_intf_pins $control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins $control/M00_AXI] [get_bd_intf_pins $core/s_axi]
connect_bd_intf_net [get_bd_intf_pins $control/M01_AXI] [get_bd_intf_pins $gpio/S_AXI]
# Both masters are there in a core of one read port, too: the second one is idle then.
foreach index {0 1} {
  set memory [joined memory_$index 1 $clock $resetn]
  connect_bd_intf_net [get_bd_intf_pins $core/m_axi_$index] [get_bd_intf_pins $memory/S00_AXI]
  connect_bd_intf_net [get_bd_intf_pins $memory/M00_AXI] \
    [get_bd_intf_pins $system/[lindex $memory_ports $index]]
}
connect_bd_net [get_bd_pins $core/irq] [get_bd_pins $system/$irq_pin]
if {[llength $led_pins]} {
  create_bd_port -dir O -from 3 -to 0 leds
  connect_bd_net [get_bd_pins $gpio/gpio_io_o] [get_bd_ports leds]
}

foreach {cell pin base} [list $core s_axi $core_base $gpio S_AXI $gpio_base] {
  assign_bd_address -offset $base -range 64K [get_bd_addr_segs -of_objects \
    [get_bd_intf_pins $cell/$pin]]
}
assign_bd_address
validate_bd_design
save_bd_design

set wrapper [make_wrapper -files [get_files millrace.bd] -top]
add_files -norecurse $wrapper
set_property top millrace_wrapper [current_fileset]
if {[llength $led_pins]} {
  set constraints [open $out/leds.xdc w]
  foreach index {0 1 2 3} {
    puts $constraints "set_property -dict {PACKAGE_PIN [lindex $led_pins $index]\
      IOSTANDARD $led_standard} \[get_ports {leds\[$index\]}\]"
  }
  close $constraints
  add_files -fileset constrs_1 $out/leds.xdc
}
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} { error "the implementation failed" }
open_run impl_1
report_utilization -file $out/utilization.txt
report_timing_summary -file $out/timing.txt
set slack [get_property SLACK [get_timing_paths]]
if {$slack < 0} { error "the clock is missed by [expr {-$slack}] ns: lower it in $board_file" }
file copy -force [get_property DIRECTORY [get_runs impl_1]]/millrace_wrapper.bit $out/millrace.bit
file copy -force [lindex [glob $out/project/millrace.gen/sources_1/bd/millrace/hw_handoff/*.hwh] 0] \
  $out/millrace.hwh
