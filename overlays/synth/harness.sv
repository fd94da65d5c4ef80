// For place and route alone: the core between chains of registers, so that it needs few pads and the
// timing is that of the core's own paths, from register to register.
`default_nettype none
module harness #(
  parameter int D = 64,
  parameter int PORTS = 1
) (
  input  wire  clk,
  input  wire  rst_n,
  input  wire  in,
  input  wire  load,
  output logic last
);
  logic [214:0] chain_in, held;
  logic [413:0] seen, chain_out;
  wire [413:0] out;
  logic [1:0] aresetn;
  always_ff @(posedge clk) begin
    chain_in <= {chain_in[213:0], in};
    if (load) held <= chain_in;
    aresetn <= {aresetn[0], rst_n};
    seen <= out;
    chain_out <= load ? seen : {chain_out[412:0], 1'b0};
    last <= chain_out[413];
  end
  aggregate #(.D(D), .PORTS(PORTS)) core (
    .aclk(clk), .aresetn(aresetn[1]),
    .s_axi_awaddr(held[7:0]), .s_axi_awprot(held[10:8]), .s_axi_awvalid(held[11]),
    .s_axi_wdata(held[43:12]), .s_axi_wstrb(held[47:44]), .s_axi_wvalid(held[48]),
    .s_axi_bready(held[49]), .s_axi_araddr(held[57:50]), .s_axi_arprot(held[60:58]),
    .s_axi_arvalid(held[61]), .s_axi_rready(held[62]), .m_axi_0_awready(held[63]),
    .m_axi_0_wready(held[64]), .m_axi_0_bid(held[65]), .m_axi_0_bresp(held[67:66]),
    .m_axi_0_bvalid(held[68]), .m_axi_0_arready(held[69]), .m_axi_0_rid(held[70]),
    .m_axi_0_rdata(held[134:71]), .m_axi_0_rresp(held[136:135]), .m_axi_0_rlast(held[137]),
    .m_axi_0_rvalid(held[138]), .m_axi_1_awready(held[139]), .m_axi_1_wready(held[140]),
    .m_axi_1_bid(held[141]), .m_axi_1_bresp(held[143:142]), .m_axi_1_bvalid(held[144]),
    .m_axi_1_arready(held[145]), .m_axi_1_rid(held[146]), .m_axi_1_rdata(held[210:147]),
    .m_axi_1_rresp(held[212:211]), .m_axi_1_rlast(held[213]), .m_axi_1_rvalid(held[214]),
    .s_axi_awready(out[0]), .s_axi_wready(out[1]), .s_axi_bresp(out[3:2]), .s_axi_bvalid(out[4]),
    .s_axi_arready(out[5]), .s_axi_rdata(out[37:6]), .s_axi_rresp(out[39:38]),
    .s_axi_rvalid(out[40]), .m_axi_0_awid(out[41]), .m_axi_0_awaddr(out[73:42]),
    .m_axi_0_awlen(out[81:74]), .m_axi_0_awsize(out[84:82]), .m_axi_0_awburst(out[86:85]),
    .m_axi_0_awlock(out[87]), .m_axi_0_awcache(out[91:88]), .m_axi_0_awprot(out[94:92]),
    .m_axi_0_awvalid(out[95]), .m_axi_0_wdata(out[159:96]), .m_axi_0_wstrb(out[167:160]),
    .m_axi_0_wlast(out[168]), .m_axi_0_wvalid(out[169]), .m_axi_0_bready(out[170]),
    .m_axi_0_arid(out[171]), .m_axi_0_araddr(out[203:172]), .m_axi_0_arlen(out[211:204]),
    .m_axi_0_arsize(out[214:212]), .m_axi_0_arburst(out[216:215]), .m_axi_0_arlock(out[217]),
    .m_axi_0_arcache(out[221:218]), .m_axi_0_arprot(out[224:222]), .m_axi_0_arvalid(out[225]),
    .m_axi_0_rready(out[226]), .m_axi_1_awid(out[227]), .m_axi_1_awaddr(out[259:228]),
    .m_axi_1_awlen(out[267:260]), .m_axi_1_awsize(out[270:268]), .m_axi_1_awburst(out[272:271]),
    .m_axi_1_awlock(out[273]), .m_axi_1_awcache(out[277:274]), .m_axi_1_awprot(out[280:278]),
    .m_axi_1_awvalid(out[281]), .m_axi_1_wdata(out[345:282]), .m_axi_1_wstrb(out[353:346]),
    .m_axi_1_wlast(out[354]), .m_axi_1_wvalid(out[355]), .m_axi_1_bready(out[356]),
    .m_axi_1_arid(out[357]), .m_axi_1_araddr(out[389:358]), .m_axi_1_arlen(out[397:390]),
    .m_axi_1_arsize(out[400:398]), .m_axi_1_arburst(out[402:401]), .m_axi_1_arlock(out[403]),
    .m_axi_1_arcache(out[407:404]), .m_axi_1_arprot(out[410:408]), .m_axi_1_arvalid(out[411]),
    .m_axi_1_rready(out[412]), .irq(out[413])
  );
endmodule
`default_nettype wire
